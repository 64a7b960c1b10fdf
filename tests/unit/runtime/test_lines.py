"""Lines that a worker prints, as they are handed on."""

from pardata.runtime.output.lines import Lines


def test_line_that_was_flushed_in_its_middle_has_one_end():
    said = []
    lines = Lines("stdout", lambda text, _: said.append(text))
    for part in ("loading", "\n", "next", "", " word\n", "\n", "\n"):
        lines.write(part)
        lines.flush()
    assert said == ["loading", "next", " word\n", "\n", "\n"]


def test_long_line_goes_on_until_its_end():
    said, whole = [], [""]
    lines = Lines("stdout", lambda *told: said.append(told))
    for text in ("a" * 40_000, "b\n", "short\n" * 9_000, "c" * 20_000):
        lines.write(text)
    lines.flush()
    lines.write("\nd\n")
    for text, goes_on in said:
        whole[-1] += text
        whole += [] if goes_on else [""]
    assert max(len(text) for text, _ in said) <= 16_000
    assert whole == ["a" * 40_000 + "b\n", "short\n" * 8_000, "short\n" * 1_000, "c" * 20_000, "d\n", ""]
