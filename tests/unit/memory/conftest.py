import errno
import os
import tempfile

import pytest

from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.named import directories, guardian
from pardata.memory.shared_heap import SharedHeap

SPAN_BYTES = 1 << 30


@pytest.fixture
def make_arena(segment):
    """Make an arena over the span number `index` of the segment, the first one if not told otherwise."""

    def make(index=0, budget=None, who="worker", live=(), size_bytes=SPAN_BYTES, kept_bytes=None):
        return Arena(segment, Span(index * SPAN_BYTES, size_bytes), HEADER_BYTES, budget, who, live, kept_bytes)

    return make


@pytest.fixture
def arena(make_arena):
    return make_arena()


@pytest.fixture
def resident_bytes(segment):
    """A function that tells how much memory the segment takes."""
    return lambda: 512 * os.fstat(segment.fd).st_blocks


@pytest.fixture
def shared_heap():
    """A heap of its own: not the one that `pardata.empty` uses."""
    made = SharedHeap()
    yield made
    made.segment.close_fd()
    vars(made).clear()


@pytest.fixture
def base(monkeypatch):
    """A directory of sessions that no other program sweeps."""
    parent = tempfile.mkdtemp(prefix=f"pardata-test-{os.getpid()}-", dir=guardian.SHM)
    path = os.path.join(parent, f"pardata-{os.geteuid()}")

    def base_directory(make=True):
        if make:
            os.makedirs(path, exist_ok=True)
        return path

    monkeypatch.setattr(directories, "base_directory", base_directory)
    monkeypatch.setattr(directories, "base_directories", lambda: [path])
    yield path
    os.rmdir(parent)


@pytest.fixture
def fail_once(monkeypatch):
    """Let the next `os.open` of a path that begins or ends so fail: this process has no descriptor left just then."""

    def arrange(part):
        real = os.open

        def open_once(path, *args, **kwargs):
            if str(path).startswith(part) or str(path).endswith(part):
                monkeypatch.setattr(os, "open", real)
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
            return real(path, *args, **kwargs)

        monkeypatch.setattr(os, "open", open_once)

    return arrange
