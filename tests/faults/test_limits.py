"""What an item may cost: time, tries, workers' lives (USERS.md 1, 8, 9, 19)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pardata
from tests.faults.streams import Running

HANG_S = 3600.0


def hang_at(*bad: int) -> Any:
    def hang(x: int) -> int:
        if x in bad:
            time.sleep(HANG_S)
        return x

    return hang


def die_at(*bad: int) -> Any:
    def die(x: int) -> int:
        if x in bad:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    return die


def test_item_that_takes_too_long_ends_the_run() -> None:
    stream = pardata.source(range(50)).map(hang_at(20), workers=2, timeout_s=0.2)
    with pytest.raises(pardata.DeadlineExceeded, match="item 20 took longer than timeout_s=0.2"):
        stream.run()


def test_item_that_takes_too_long_is_tried_again(tmp_path: Path) -> None:
    def hang_once(x: int) -> int:
        if x % 10 == 3 and not (tmp_path / str(x)).exists():
            (tmp_path / str(x)).touch()
            time.sleep(HANG_S)
        return x

    stream = pardata.source(range(40)).map(hang_once, workers=2, timeout_s=0.3, retries=1)
    with stream.iterate() as run:
        assert list(run) == list(range(40))
    assert run.report().stages[1].restarts == 4


@pytest.mark.parametrize("errors", ["skip", "stream"])
@pytest.mark.parametrize(
    ("stage", "options", "kind"),
    [
        (hang_at(3, 4, 30), {"timeout_s": 0.2}, pardata.DeadlineExceeded),
        (die_at(3, 4, 30), {}, pardata.WorkerLostError),
    ],
    ids=["hangs", "dies"],
)
def test_item_that_costs_workers_is_left_out(stage: Any, options: dict[str, Any], kind: type, errors: Any) -> None:
    good = pardata.source(range(40)).map(stage, workers=2, errors=errors, **options)
    if errors == "skip":
        with good.iterate() as run:
            assert list(run) == [x for x in range(40) if x not in (3, 4, 30)]
        assert [skipped.number for skipped in run.report().skipped] == [3, 4, 30]
        assert kind.__name__ in run.report().skipped[0].error
        return
    found: list[int] = []
    letters: list[pardata.DeadLetter] = []
    pardata.run(good.to(found), good.failed.to(letters))
    assert found == [x for x in range(40) if x not in (3, 4, 30)]
    assert [letter.item for letter in letters] == [3, 4, 30]
    assert all(type(letter.error) is kind for letter in letters)


def test_restarts_are_limited() -> None:
    def die(x: int) -> int:
        if x == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with pytest.raises(pardata.WorkerLostError, match="SIGKILL.*max_restarts=1 of the run have been used up"):
        pardata.source(range(9)).map(die, name="die").run(max_restarts=1)


def test_stage_that_dies_while_it_is_opened_is_not_started_for_ever() -> None:
    class Fatal:
        def open(self) -> None:
            os._exit(9)

        def __call__(self, x: int) -> int:
            return x

    with pytest.raises(pardata.WorkerLostError, match="10 worker processes in a row were lost while .* starting"):
        pardata.source(range(3)).map(Fatal()).run()


@pytest.mark.parametrize("when", ["take", "yield", "snapshot", "end"])
def test_generator_filter_with_a_state_is_taken_up_where_it_was(tmp_path: Path, when: str) -> None:
    class Dying(Running):
        def die(self, now: str) -> None:
            if now == when and not (tmp_path / now).exists():
                (tmp_path / now).touch()
                os.kill(os.getpid(), signal.SIGKILL)

        def __call__(self, items: Iterator[int]) -> Iterator[int]:
            for item in items:
                if item == 77:
                    self.die("take")
                self.total = self.total * 3 % 1009 + item
                yield self.total
                if item == 77:
                    self.die("yield")
                yield item
            self.die("end")
            yield -1

        def snapshot(self) -> int:
            if self.total % 7 == 3:
                self.die("snapshot")
            return int(self.total)

    expected, total = [], 0
    for item in range(200):
        total = total * 3 % 1009 + item
        expected += [total, item]
    with (pardata.source(range(200)).map(abs, chunksize=5) | Dying()).iterate() as run:
        assert list(run) == [*expected, -1]
    assert run.report().stages[2].restarts == 1


def test_file_is_written_once_whoever_writes_it(tmp_path: Path) -> None:
    import numpy as np

    from tests.faults.killer import Killer

    for seed in range(3):
        stream = pardata.source(range(1500)).map(float, chunksize=3).to(tmp_path / f"{seed}.npy")
        with stream.iterate() as run:
            killer = Killer(run, seed)
            killer.start()
            try:
                assert list(run) == []
            finally:
                killer.stop()
        assert np.load(tmp_path / f"{seed}.npy").tolist() == list(range(1500))


def test_exit_is_told_with_its_text() -> None:
    with pytest.raises(RuntimeError, match="no licence"):
        pardata.source(range(3)).map(lambda x: sys.exit("no licence")).run()
