"""`python -m pardata top`: runs and pools of this process, as another one would find them."""

import os
import signal
import subprocess
import sys

import pytest

import pardata
from pardata.__main__ import main
from pardata.memory.shared_heap import shared_heap
from pardata.runtime.watching import terminal
from pardata.runtime.watching.segments import segments


def ours():
    """What is seen of this process; the tests of others may run beside it."""
    return [seen for seen in terminal.look().seen if seen.pid == os.getpid()]


def test_the_numbers_are_those_of_the_report(capsys):
    with pardata.WorkerPool(2, name="numbers", memory_limit="1GB") as pool:
        assert list(pool.map(abs, [-1, 2], chunksize=1)) == [1, 2]
        with pardata.source([1, 2, 3]).map(abs, workers=2).iterate(memory_limit="2GB") as run:
            assert [next(run), next(run), next(run)] == [1, 2, 3]
            found, other = sorted(ours(), key=lambda seen: seen.is_pool)
            report = run.report()
            main(["top", "--once"])
        told = capsys.readouterr().out
        assert [(stage.name, stage.workers, stage.items) for stage in found.stages] == [
            (stage.name, stage.workers, stage.items) for stage in report.stages
        ]
        assert found.limit_bytes >= 2e9 > found.used_bytes > 0 and other.limit_bytes == 1e9
        (stage,) = other.stages
        assert (other.name, stage.name, stage.workers, stage.items) == ("numbers", "numbers", 2, 2)
        assert "\x1b" not in told and "pool 'numbers'" in told and f"run of process {os.getpid()}" in told
        assert [seen.is_pool for seen in ours()] == [True]
    assert ours() == []


def test_a_run_whose_main_process_is_gone_is_not_shown(monkeypatch):
    with pardata.source([1]).iterate() as run:
        next(run)
        found = [segment._replace(pids={}) for segment in segments()]
        monkeypatch.setattr(terminal, "segments", lambda: found)
        assert found and terminal.look().seen == []


def test_a_look_makes_no_pages_and_keeps_nothing_open():
    with pardata.source([1]).iterate() as run:
        next(run)
        segment = shared_heap().segment
        before = os.fstat(segment.fd).st_blocks
        for _ in range(3):
            assert ours()
        assert os.fstat(segment.fd).st_blocks <= before


def test_q_ends_it_and_the_terminal_is_as_before(monkeypatch):
    termios, pty = pytest.importorskip("termios"), pytest.importorskip("pty")
    ours_end, theirs = pty.openpty()
    with open(theirs, closefd=True) as keys, open(os.dup(theirs), "w") as screen:
        monkeypatch.setattr(sys, "stdin", keys)
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setenv("TERM", "xterm")
        before, handler = termios.tcgetattr(theirs), signal.getsignal(signal.SIGTERM)
        os.write(ours_end, b"q")
        main(["top"])
        assert termios.tcgetattr(theirs) == before and signal.getsignal(signal.SIGTERM) is handler
        drawn = ""
        while terminal._END not in drawn:
            drawn += os.read(ours_end, 1 << 16).decode()
    os.close(ours_end)
    assert terminal._BEGIN in drawn and "q ends" in drawn


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_it_and_the_terminal_is_as_before(name):
    """Also without a standard input, which tells of no keys."""
    pty = pytest.importorskip("pty")
    ours_end, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(["sh", "-c", 'exec "$0" -m pardata top <&-', sys.executable], stdout=theirs, env=env) as top:
        os.close(theirs)
        drawn = ""
        while "q ends" not in drawn:
            drawn += os.read(ours_end, 1 << 16).decode()
        top.send_signal(getattr(signal, name))
        while terminal._END not in drawn:
            drawn += os.read(ours_end, 1 << 16).decode()
        assert top.wait() == 128 + getattr(signal, name)
    os.close(ours_end)
