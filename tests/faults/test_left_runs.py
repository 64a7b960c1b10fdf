"""A run that is left: the call under way is finished, nothing is begun behind it, and the user's clean-up runs."""

import os
import subprocess
import sys

import pytest

import pardata
from pardata.engines.processes import engine
from pardata.runtime import stopping, supervisor


class Gate:
    """A pipe by which a worker says that it is somewhere, and one by which it is let go."""

    def __init__(self):
        self._fds = [*os.pipe(), *os.pipe()]
        place = f"/proc/{os.getpid()}/fd/"
        self.said, self.go = place + str(self._fds[1]), place + str(self._fds[2])

    def wait_for_worker(self):
        assert os.read(self._fds[0], 1) == b"."

    def let_go(self):
        os.write(self._fds[3], b".")

    def close(self):
        for fd in self._fds:
            os.close(fd)


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.close()


def wait_at(said, go):
    with open(said, "wb", 0) as pipe:
        pipe.write(b".")
    with open(go, "rb", 0) as pipe:
        pipe.read(1)


class Stage:
    """Writes down what it does; waits at the gate in `close`, or in the call for item 1."""

    def __init__(self, log, gate, waits_in):
        self.log, self.said, self.go, self.waits_in = log, gate.said, gate.go, waits_in

    def open(self):
        self.file = open(self.log, "w")  # noqa: SIM115

    def __call__(self, x):
        if x == 1 and self.waits_in == "call":
            wait_at(self.said, self.go)
        print("called", x, file=self.file)
        return x

    def close(self):
        if self.waits_in == "close":
            wait_at(self.said, self.go)
        print("closed", file=self.file)
        self.file.close()


class Filter(Stage):
    def __call__(self, items):
        self.open()
        try:
            for x in items:
                yield super().__call__(x)
        finally:
            self.close()


def stage(kind, *args):
    items = pardata.source(range(100))
    if kind == "filter":
        return items | Filter(*args).__call__
    return items.map(Stage(*args), chunksize=50 if kind == "one message" else 1)


def when_asked(do, monkeypatch):
    """Call `do` when the workers have been asked to leave, before anything of their time is over."""
    wait_for_ends = supervisor.wait_for_ends

    def asked(*args):
        monkeypatch.setattr(supervisor, "wait_for_ends", wait_for_ends)
        do()
        wait_for_ends(*args)

    monkeypatch.setattr(supervisor, "wait_for_ends", asked)


@pytest.mark.parametrize("kind", ["messages", "one message", "filter"])
def test_the_call_under_way_is_finished_and_the_stage_closed(kind, gate, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "RUN_CALLS_S", 3600.0)
    when_asked(gate.let_go, monkeypatch)
    with stage(kind, tmp_path / "log", gate, "call").iterate():
        gate.wait_for_worker()
    assert (tmp_path / "log").read_text().split("\n") == ["called 0", "called 1", "closed", ""]


@pytest.mark.parametrize("kind", ["messages", "filter"])
def test_a_stage_that_closes_has_the_time_of_exit_functions(kind, gate, tmp_path, monkeypatch):
    sleep = stopping._sleep

    def let_go(*args):  # the time of calls is over: the worker has got the signal, if it gets one
        gate.let_go()
        sleep(*args)

    monkeypatch.setattr(engine, "RUN_CALLS_S", 0.0)
    monkeypatch.setattr(stopping, "_sleep", let_go)
    when_asked(gate.wait_for_worker, monkeypatch)
    with stage(kind, tmp_path / "log", gate, "close").iterate() as run:
        next(run)
    assert (tmp_path / "log").read_text().endswith("closed\n")


def test_a_call_that_never_ends_is_cut_off(gate, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "RUN_CALLS_S", 0.0)
    with stage("messages", tmp_path / "log", gate, "call").iterate():
        gate.wait_for_worker()
    assert "closed" not in (tmp_path / "log").read_text()


def test_a_close_that_never_ends_is_cut_off(gate, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "RUN_CALLS_S", 3600.0)
    monkeypatch.setattr(stopping, "EXIT_S", 0.0)
    when_asked(gate.wait_for_worker, monkeypatch)
    with stage("messages", tmp_path / "log", gate, "close").iterate() as run:
        next(run)
    assert "closed" not in (tmp_path / "log").read_text()


def test_a_forked_child_takes_no_items_of_its_parents_run_and_leaves_it():
    script = """
import os, signal, pardata
for engine in ("threads", "processes"):
    with pardata.source(range(20_000)).map(abs).iterate(engine=engine) as run:
        taken = [next(run)]
        pid = os.fork()
        if not pid:
            signal.alarm(30)
            try:
                taken += run
            except RuntimeError as error:
                assert "start one here" in str(error)
                run.close()
                os._exit(7)
        taken += run
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(taken))
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "7 20000\n" * 2, done.stderr
