"""SIGKILL of a worker in the middle of a call: until it is noticed, until the item is running again, until its result
is there; and the cost of a kill for a run.

`multiprocessing.Pool` is not here: it waits for ever for a task whose worker was killed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Rival
from benchmarks.timing import outcome
from benchmarks.victims import PATIENCE_S, kill_when_ready, victim

KILLS = 5
AT, ITEMS = 50, 100


def in_thread(fn: Callable[[str], float], path: str) -> Callable[[], float]:
    """Begin ``fn(path)`` in a thread; the function returned waits for it and gives its result."""
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(fn(path)), daemon=True)
    thread.start()

    def result() -> float:
        thread.join()
        return found[0]

    return result


def _pool(rival: Rival, seconds: float) -> Outcome:
    """From the kill to the result, with all that a user has to do for it."""
    with tempfile.TemporaryDirectory() as folder, rival.survive() as survive:
        taken = []
        for i in range(KILLS):
            path = f"{folder}/{i}"
            killed = in_thread(kill_when_ready, path)
            assert survive(victim, path) > 0
            taken.append(time.perf_counter() - killed())
    return outcome(taken)


def _stage(what: str, rival: Rival, seconds: float) -> Outcome:
    """A run for each kill; the seconds from it until `what`."""
    with tempfile.TemporaryDirectory() as folder, noticed_times() as noticed:
        runs = [_one_run(f"{folder}/{i}", noticed) for i in range(KILLS)]
    return outcome([run[what] for run in runs])


class noticed_times:
    """The moments at which the parent of a run hears of a death; there is no public way to ask."""

    def __enter__(self) -> list[float]:
        from pardata.runtime.supervisor import Supervisor

        times: list[float] = []
        self._watch: Any = Supervisor._watch
        watch = self._watch

        def timed_watch(supervisor: Any, worker: Any) -> None:
            times.append(time.perf_counter())
            watch(supervisor, worker)

        Supervisor._watch = timed_watch  # type: ignore[assignment,method-assign]
        return times

    def __exit__(self, *error: object) -> None:
        from pardata.runtime.supervisor import Supervisor

        Supervisor._watch = self._watch  # type: ignore[method-assign]


def _one_run(path: str, noticed: list[float]) -> dict[str, float]:
    """Kill the worker of a stage at one item of many."""
    import pardata

    def work(i: int) -> tuple[int, float]:
        begin = time.perf_counter()  # one clock for all processes
        if i == AT:
            victim(path)
        return i, begin

    killer = in_thread(kill_when_ready, path)
    came, arrival = [], 0.0
    for i, begin in pardata.source(range(ITEMS)).map(work, chunksize=1):
        came.append((i, begin))
        if i == AT:
            arrival = time.perf_counter()
    killed = killer()
    assert [i for i, _ in came] == list(range(ITEMS)), f"items lost or doubled: {came}"
    again = dict(came)[AT]
    return {
        "noticed": next(moment for moment in noticed if moment > killed) - killed,
        "running again": again - killed,
        "result": arrival - killed,
    }


EACH_S, RUN_ITEMS, RUN_KILLS = 0.005, 200, 3


def _cost(rival: Rival, seconds: float) -> Outcome:
    """Seconds of a run in which three workers are killed, in multiples of the same run without."""
    undisturbed, disturbed = _run_s(0), _run_s(RUN_KILLS)
    return {"value": disturbed - undisturbed, "items": RUN_ITEMS, "undisturbed_s": undisturbed, "kills": RUN_KILLS}


def _run_s(kills: int) -> float:
    import pardata

    with tempfile.TemporaryDirectory() as folder:
        at = {RUN_ITEMS * (k + 1) // (kills + 1): f"{folder}/{k}" for k in range(kills)}

        def work(i: int) -> int:
            time.sleep(EACH_S)
            if i in at:
                victim(at[i])
            return i

        killers = [in_thread(kill_when_ready, path) for path in at.values()]
        stream = iter(pardata.source(range(RUN_ITEMS)).map(work, workers=2))
        first = next(stream)
        begin = time.perf_counter()
        assert list(itertools.chain([first], stream)) == list(range(RUN_ITEMS)), "items lost or doubled"
        for killer in killers:
            killer()
        return time.perf_counter() - begin


CUT_ITEMS, CUT_ROUNDS = 1_000_000, 3


def _cuts(rival: Rival, seconds: float) -> Outcome:
    """Seconds that cuts, one per second, add to a run of small items that are written to a file.

    Beside them: what a checkpoint adds that makes none, with its folder, and the flushes at the end.
    """
    from pardata.checkpoint import folder as folders

    taken: dict[str, list[float]] = {"plain": [], "none": [], "cuts": []}
    for _ in range(CUT_ROUNDS):
        for what, times in taken.items():
            with mock.patch.object(folders, "CUT_S", float("inf") if what == "none" else folders.CUT_S):
                times.append(_written_s(what != "plain"))
    plain, none, cuts = map(min, taken.values())
    return {
        "value": cuts - none,
        "items": CUT_ITEMS,
        "plain_s": plain,
        "share": cuts / none - 1,
        "ends_s": none - plain,
    }


def _written_s(has_checkpoint: bool) -> float:
    import pardata

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = f"{folder}/c" if has_checkpoint else None
        stream = pardata.source(range(CUT_ITEMS)).map(float).to(f"{folder}/x.npy")
        begin = time.perf_counter()
        report = stream.run(checkpoint=checkpoint)
        taken = time.perf_counter() - begin
        assert report.stages[-1].items == CUT_ITEMS
        return taken


class Interrupted:
    """A stage that fails near the end of the items, and in the next run notes when it is at work again."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._is_first = True

    def __call__(self, number: int) -> float:
        if self._is_first:
            self._is_first = False
            if os.path.exists(f"{self._folder}/failed"):
                Path(self._folder, "first").write_text(f"{time.perf_counter()} {number}")
        if number == CUT_ITEMS - 1000 and not os.path.exists(f"{self._folder}/failed"):
            raise InterruptedError
        return float(number)


def _resumed(rival: Rival, seconds: float) -> Outcome:
    """From the second call until the stage has its first item behind the cut."""
    import pardata

    with tempfile.TemporaryDirectory() as folder:
        stream = pardata.source(list(range(CUT_ITEMS))).map(Interrupted(folder)).to(f"{folder}/x.npy")
        with contextlib.suppress(InterruptedError):
            stream.run(checkpoint=f"{folder}/c")
        Path(folder, "failed").touch()
        begin = time.perf_counter()
        stream.run(checkpoint=f"{folder}/c")
        whole = time.perf_counter() - begin
        moment, number = Path(folder, "first").read_text().split()
        assert 0 < int(number) <= CUT_ITEMS - 1000, "no cut counted"
        return {"value": float(moment) - begin, "items": CUT_ITEMS, "at": int(number), "whole_s": whole}


OWNER = "from {} import SharedMemory; print(SharedMemory(create=True, size=1 << 20).name, flush=True); input()"


def _named(rival: Rival, seconds: float) -> Outcome:
    """From the kill of a program until its named block is gone; one that does not belong to this program's session."""
    taken = []
    environment = {name: value for name, value in os.environ.items() if name != "PARDATA_SESSION"}
    for _ in range(KILLS):
        script = OWNER.format(rival.shared_memory().__module__)
        owner = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert owner.stdout
        path = Path("/dev/shm") / owner.stdout.readline().strip()
        assert path.exists()
        begin = time.perf_counter()
        owner.kill()
        while path.exists():
            time.sleep(0.0005)
            assert time.perf_counter() < begin + PATIENCE_S, f"{path} is still there"
        taken.append(time.perf_counter() - begin)
        owner.communicate()
    return outcome(taken)


REDO = ("pardata", "concurrent.futures", "joblib", "pebble", "ray tasks")

CASES = (
    Case("recovery_pool", "the killed call's result, in a pool", "s", REDO, _pool),
    Case("recovery_noticed", "a stage's death noticed", "s", ("pardata",), partial(_stage, "noticed")),
    Case("recovery_running", "its item running again", "s", ("pardata",), partial(_stage, "running again"), quick=()),
    Case("recovery_stage", "its item's result at the consumer", "s", ("pardata",), partial(_stage, "result"), quick=()),
    Case("recovery_named", "a killed program's named block gone", "s", ("pardata", "mp.shared_memory"), _named),
    Case("recovery_cost", "what three kills add to a run", "s", ("pardata",), _cost),
    Case("checkpoint_cost", "what a cut per second adds to a run of a million items", "s", ("pardata",), _cuts),
    Case("checkpoint_resume", "a run of a million items at work again", "s", ("pardata",), _resumed, quick=()),
)
