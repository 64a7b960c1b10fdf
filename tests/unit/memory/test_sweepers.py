"""Two sweepers of one dead session: the second comes at every line of the first."""

import fcntl
import os
import sys
import threading
import types

import pytest

from pardata.memory.named import guardian, os_objects
from pardata.memory.named.register import Register


class Dead:
    """What a session of three processes has left that were killed: three registers, and a block of each."""

    def __init__(self, path):
        self.path = str(path)
        os.makedirs(self.path)
        self.names = [f"pd_test{os.getpid()}.{number}" for number in range(3)]
        for register, name in zip((guardian.ROOT, "1-a", "2-b"), self.names, strict=True):
            made = Register(f"{self.path}/{register}")
            made.note(name, guardian.ANY_FILE, 1, 0, "here")
            made.close(remove=False)
            os.close(os_objects.create(name))

    @property
    def left(self):
        return [name for name in self.names if os.path.exists(f"/dev/shm/{name}")] + guardian.registers(self.path)


class Sweeper(threading.Thread):
    """Sweeps; stops before a line of it, until told to go on."""

    def __init__(self, path, line=0):
        super().__init__()
        self.path, self.line, self.lines = path, line, 0
        self.stands, self.goes_on = threading.Event(), threading.Event()
        self.error = None

    def run(self):
        sys.settrace(self.trace if self.line else None)
        try:
            guardian.sweep_session(self.path, wait=True)
        except BaseException as error:
            self.error = error
        finally:
            sys.settrace(None)
            self.stands.set()

    def trace(self, frame, event, _):
        if frame.f_code.co_filename != guardian.__file__:
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.line:
                self.stop()
        return self.trace

    def stop(self):
        self.stands.set()
        self.goes_on.wait()


@pytest.fixture(autouse=True)
def announced(monkeypatch):
    """The second sweeper is taken to stand when it is about to wait for a lock."""

    def flock(fd, how):
        sweeper = threading.current_thread()
        if not how & fcntl.LOCK_NB and isinstance(sweeper, Sweeper) and not sweeper.line:
            sweeper.stands.set()
        fcntl.flock(fd, how)

    monkeypatch.setattr(guardian, "fcntl", types.SimpleNamespace(**{**vars(fcntl), "flock": flock}))


def test_second_sweeper_at_every_line_of_the_first(tmp_path):
    line = 0
    while True:
        line += 1
        dead = Dead(tmp_path / "sessions" / str(line))
        first, second = Sweeper(dead.path, line), Sweeper(dead.path)
        first.start()
        first.stands.wait()
        second.start()
        second.stands.wait()  # it waits for the first, or has ended
        first.goes_on.set()
        first.join()
        second.join()
        assert (first.error, second.error, dead.left) == (None, None, []), f"line {line}"
        assert not os.path.exists(dead.path)
        if first.lines < line:
            break
    assert line > 60


def test_others_see_a_dead_session_and_are_not_held_up_at_every_line_of_a_sweeper(tmp_path):
    line = 0
    while True:
        line += 1
        dead = Dead(tmp_path / "sessions" / str(line))
        sweeper = Sweeper(dead.path, line)
        sweeper.start()
        sweeper.stands.wait()
        assert not guardian.is_alive(dead.path), f"line {line}"
        guardian.sweep_session(dead.path)  # leaves it to the other, or does it
        sweeper.goes_on.set()
        sweeper.join()
        assert (sweeper.error, dead.left) == (None, []), f"line {line}"
        if sweeper.lines < line:
            break
    assert line > 60
