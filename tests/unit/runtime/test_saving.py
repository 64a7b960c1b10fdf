"""Files of pictures: whole or not there, whatever the letters in them."""

import errno
import os
import resource
import signal
from contextlib import contextmanager

import pytest

import pardata
from pardata.runtime.progress import RunReport, Skipped, StageStatistics
from pardata.runtime.recording.saving import write_text


@contextmanager
def files_of_at_most(nbytes):
    """Limit the size of files: a write beyond it fails as on a full disk, with another number."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_page_that_was_there_and_is_told_with_its_name(tmp_path):
    path = tmp_path / "run.html"
    write_text(path, ".html", "save", ["the page before"])
    with files_of_at_most(10_000), pytest.raises(OSError) as caught:
        write_text(path, ".html", "save", ["x" * 100_000])
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert path.read_text() == "the page before" and os.listdir(tmp_path) == ["run.html"]


def test_a_piece_that_cannot_be_made_leaves_the_page_that_was_there(tmp_path):
    path = tmp_path / "run.html"
    write_text(path, ".html", "save", ["the page before"])
    with pytest.raises(ZeroDivisionError):
        write_text(path, ".html", "save", (str(1 // n) for n in (1, 0)))
    assert path.read_text() == "the page before" and os.listdir(tmp_path) == ["run.html"]


def test_letters_that_are_no_text_are_written_as_repr_shows_them(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")  # a file name that is not UTF-8
    report = RunReport([StageStatistics(name, 1)], 1.0, [Skipped(name, 0, "0", f"OSError: {name}", f"at {name}")])
    report.save(tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text("utf-8")
    assert "OSError: caf\\udce9.png" in page and page.endswith("</html>\n")


def test_links_and_permissions_stay(tmp_path):
    path, link = tmp_path / "page.html", tmp_path / ("x" * 250 + ".html")
    write_text(path, ".html", "save", ["before"])
    path.chmod(0o600)
    link.symlink_to(path)
    write_text(os.fsencode(link), ".html", "save", ["after"])
    assert path.read_text() == "after" and path.stat().st_mode & 0o777 == 0o600 and link.is_symlink()


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    report = pardata.source([1]).run(engine="serial")
    (tmp_path / "folder.html").mkdir()
    for path in (tmp_path / "none" / "run.html", tmp_path / "folder.html"):
        with pytest.raises(OSError, match=str(path)):
            report.save(path)
    with pytest.raises(pardata.ConfigError, match="must end in .html"):
        report.save(os.fsencode(tmp_path / "run.txt"))
    assert os.listdir(tmp_path) == ["folder.html"]
