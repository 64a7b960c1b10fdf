"""Lines that a worker prints, as they are handed on."""

from pardata.runtime.output.lines import Lines


def test_line_that_was_flushed_in_its_middle_has_one_end():
    said = []
    lines = Lines("stdout", said.append)
    for part in ("loading", "\n", "next", "", " word\n", "\n", "\n"):
        lines.write(part)
        lines.flush()
    assert said == ["loading", "next", " word\n", "\n", "\n"]
