"""A session has no name in the file system before its first block; then it appears, whatever a sweep does meanwhile."""

import contextlib
import errno
import os
import sys
import threading

import pytest

from pardata.errors import CapacityError
from pardata.memory.named import directories, guardian, register, session
from pardata.memory.named.register import appear, lives, open_nameless


@pytest.fixture
def root(base):
    """A session that begins here."""
    made = session.Session.begin()
    yield made
    made.end()
    assert not os.path.exists(base)


def test_begins_without_a_name(root, base):
    assert lives(root.path)
    assert not os.path.exists(base)


def test_appears_with_the_first_block(root, monkeypatch):
    monkeypatch.setattr(session, "_MOST_GUARDIANS", 0)
    root.watch()
    assert guardian.is_alive(root.path)
    assert guardian.sweep(directories.base_directory()) == []
    assert guardian.is_alive(root.path)
    appear(root.path)  # again: nothing happens


@contextlib.contextmanager
def interrupted(module, line, action):
    """Run the block, and `action` before a line of the module. Gives the numbers of those that were run, from 1."""
    lines = []

    def trace(frame, event, _):
        if frame.f_code.co_filename != module.__file__:
            return None
        if event == "line":
            lines.append(len(lines) + 1)
            if lines[-1] == line:
                action()
        return trace

    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(None)


def test_appears_while_a_sweep_comes_at_each_line(base):
    line = 0
    while True:
        line += 1
        root = session.Session.begin()
        with interrupted(register, line, lambda root=root: guardian.sweep_session(root.path)) as lines:
            appear(root.path)
        assert guardian.is_alive(root.path), f"a sweep at line {line}"
        root.end()
        assert not os.path.exists(base)
        if line not in lines:
            break
    assert line > 15


def test_appears_at_each_line_of_a_sweep(base):
    """Which has found the directory that was made for it, and no register there."""
    line = 0
    while True:
        line += 1
        root = session.Session.begin()
        os.makedirs(root.path)
        with interrupted(guardian, line, lambda root=root: appear(root.path)) as lines:
            guardian.sweep(base)
        assert guardian.is_alive(root.path) == (line in lines), f"appeared at line {line}"
        root.end()
        assert not os.path.exists(base)
        if line not in lines:
            break
    assert line > 40


def test_sweep_removes_what_was_left_before_the_first_block_appeared(base):
    """By a process that was killed between two of its steps."""
    directories.base_directory()
    guardian.sweep(base)
    assert not os.path.exists(base)
    os.makedirs(os.path.join(base, "1-2-3-4"))
    guardian.sweep(base)
    assert not os.path.exists(base)


def test_all_who_let_it_appear_at_once_find_it(root):
    start = threading.Barrier(8)

    def first_block():
        start.wait()
        appear(root.path)
        found.append(guardian.is_alive(root.path))

    found = []
    threads = [threading.Thread(target=first_block) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


def test_does_not_appear_when_its_root_is_gone(base):
    root = session.Session.begin()
    root.end()
    assert not lives(root.path)
    with pytest.raises(FileNotFoundError):
        appear(root.path)
    with pytest.raises(FileNotFoundError):
        session.Session.join(root.path)
    assert not os.path.exists(base)


def test_does_not_appear_a_second_time(root):
    """Somebody has removed its files: a file that has lost its name cannot get another one."""
    appear(root.path)
    os.unlink(os.path.join(root.path, guardian.ROOT))
    with pytest.raises(FileNotFoundError):
        appear(root.path)


@pytest.mark.parametrize("path", ["", "/dev/shm", "a-b-c-d", "1-2", f"{os.getpid()}-0-1-2", f"{os.getpid()}-999-1-2"])
def test_other_paths_are_no_sessions(path):
    assert not lives(path)


@pytest.mark.parametrize(
    ("has_appeared", "ask", "path"),
    [
        (True, guardian.is_alive, guardian.ROOT),
        (True, lives, guardian.ROOT),
        (True, session.Session.join, guardian.ROOT),
        (False, lives, "/proc/"),
        (False, open_nameless, "/proc/"),
        (False, session.Session.join, "/proc/"),
    ],
)
def test_who_can_open_no_file_does_not_take_root_for_dead(root, fail_once, has_appeared, ask, path):
    if has_appeared:
        appear(root.path)
    fail_once(path)
    with pytest.raises(OSError) as caught:
        ask(root.path)
    assert caught.value.errno == errno.EMFILE


@pytest.mark.parametrize("path", [guardian.ROOT, "/proc/"])
def test_child_that_could_open_no_file_joins_later(root, fail_once, monkeypatch, path):
    monkeypatch.setattr(session, "_tree", None)
    monkeypatch.setenv(session.VARIABLE, root.path)
    fail_once(path)
    with pytest.raises(CapacityError, match="needs 3 file descriptors"):
        session.tree()
    joined = session.tree()
    assert (joined.path, joined.is_root) == (root.path, False)
    session._sessions.pop(joined.path).end()


def test_import_by_a_child_that_could_open_no_file_leaves_it_to_the_first_block(root, fail_once, monkeypatch):
    monkeypatch.setattr(session, "_tree", None)
    monkeypatch.setenv(session.VARIABLE, root.path)
    fail_once("/proc/")
    session._begin_early()
    assert session._tree is None


def test_session_that_cannot_begin_leaves_no_descriptor(base, fail_once, monkeypatch):
    before = os.listdir("/proc/self/fd")
    fail_once(guardian.ROOT)
    with pytest.raises(OSError):
        session.Session.begin()
    assert os.listdir("/proc/self/fd") == before

    def refuse(make=True):
        raise PermissionError("somebody else's")

    monkeypatch.setattr(directories, "base_directory", refuse)
    with pytest.raises(PermissionError):
        session.Session.begin()
    assert os.listdir("/proc/self/fd") == before


def test_a_program_without_the_right_to_enter_new_directories_can_enter_its_own(tmp_path):
    before = os.umask(0o177)
    try:
        directories.make_private(str(tmp_path / "sessions"))
    finally:
        os.umask(before)
    assert (tmp_path / "sessions").stat().st_mode & 0o777 == 0o700
