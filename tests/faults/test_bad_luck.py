"""Bad input and bad luck: errors reach the caller as themselves, at once, and say what to do (USERS.md 2, 3, 4, 19)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pardata


def endless() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def test_an_exception_reaches_the_caller_while_every_queue_is_full() -> None:
    release = pardata.zeros(1, np.int64)  # the last stage waits for ever: what is before it fills up

    def fail_late(x: int) -> int:
        if x == 40:
            raise LookupError("forty")
        return x

    def wait(x: int) -> int:
        if x > 2:
            threading.Event().wait()
        return x

    stream = pardata.source(endless).map(fail_late, workers=2, chunksize=8).map(wait, ordered=False)
    with pytest.raises(LookupError, match="forty") as caught:
        stream.run(tokens=64)
    assert any("'fail_late', item 40" in note for note in caught.value.__notes__)
    assert isinstance(caught.value.__cause__, pardata.RemoteTraceback)
    assert "fail_late" in str(caught.value.__cause__)
    assert release[0] == 0


class Unpicklable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def test_an_exception_that_cannot_be_unpickled_arrives_readable() -> None:
    def fail(x: int) -> int:
        raise Unpicklable("locked")

    with pytest.raises(pardata.RemoteError, match="Unpicklable: locked") as caught:
        pardata.source([1]).map(fail).run()
    assert "in fail" in str(caught.value.__cause__)
    with pardata.WorkerPool(1) as pool, pytest.raises(pardata.RemoteError):
        pool.submit(fail, 1).result()


class NeedsTwo(Exception):
    """Pickles, but its constructor wants two arguments, and is given one when it is unpickled."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


def test_an_exception_with_a_constructor_of_its_own_is_caught_as_itself() -> None:
    def fail(x: int) -> int:
        raise NeedsTwo(7, "no light")

    with pytest.raises(NeedsTwo, match="7: no light") as caught:
        pardata.source([1]).map(fail).run()
    assert caught.value.code == 7
    with pardata.WorkerPool(1) as pool, pytest.raises(NeedsTwo):
        pool.submit(fail, 1).result()


@pytest.mark.parametrize(
    ("fatal", "words"),
    [
        (lambda x: os._exit(3), "exited with code 3"),
        (lambda x: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
        (lambda x: os.kill(os.getpid(), signal.SIGKILL), "out-of-memory"),
    ],
)
def test_an_item_that_kills_three_workers_is_blamed(fatal: Any, words: str) -> None:
    def stage(x: int) -> int:
        if x == 5:
            fatal(x)
        return x

    with pytest.raises(pardata.WorkerLostError, match=f"'stage': 3 worker.*item 5.*{words}"):
        pardata.source(range(9)).map(stage, workers=2, chunksize=1).run()


def test_the_item_is_blamed_and_not_the_batch_that_it_came_in() -> None:
    def stage(x: int) -> int:
        if x == 500:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with pytest.raises(pardata.WorkerLostError, match="on item 500,"):
        pardata.source(range(1000)).map(stage, chunksize=64).run()


def test_a_task_that_kills_three_workers_is_blamed_and_the_pool_goes_on() -> None:
    with pardata.WorkerPool(2) as pool:
        fatal = pool.submit(os._exit, 7)
        fine = [pool.submit(pow, n, 2) for n in range(20)]
        with pytest.raises(pardata.WorkerLostError, match=r"task 0: a call with \(7,\).*code 7"):
            fatal.result()
        assert [future.result() for future in fine] == [n**2 for n in range(20)]


def test_an_inplace_stage_killed_half_way_fails_and_names_the_item() -> None:
    def half(x: np.ndarray) -> np.ndarray:
        x[:10] += 1
        if x[-1] == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    frames = (np.full(10_000, n, float) for n in range(9))
    with pytest.raises(pardata.WorkerLostError, match=r"item 3 in place"):
        pardata.source(frames).map(half, inplace=True).run()


def test_a_killed_generator_filter_fails_the_run_and_says_why() -> None:
    def count(items: Iterator[int]) -> Iterator[int]:
        for number in items:
            if number == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            yield number

    with pytest.raises(pardata.WorkerLostError, match="state of its generator is lost"):
        (pardata.source(range(20)) | count).run()


def test_a_generator_filter_that_is_killed_while_it_waits_fails_the_run_too() -> None:
    def own_process(items: Iterator[int]) -> Iterator[int]:
        for _ in items:
            yield os.getpid()

    gate = threading.Event()

    def numbers() -> Iterator[int]:
        yield 1
        gate.wait()
        yield 2

    with (pardata.source(numbers()) | own_process).iterate() as run:
        os.kill(next(run), signal.SIGKILL)
        gate.set()
        with pytest.raises(pardata.WorkerLostError, match="state of its generator is lost"):
            list(run)


def test_an_item_that_the_batch_timer_cannot_send_ends_the_run() -> None:
    gate = threading.Event()

    def items() -> Iterator[Any]:
        yield from range(200)  # until the batches have grown
        yield threading.Lock()
        gate.wait()  # by then the timer has tried to send it

    with pytest.raises(pardata.SerializationError, match="is a _thread.lock"):
        list(pardata.source(items()).map(lambda x: x))
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "pardata-source":  # the run did not wait for it, and it gives its span back at its end
            thread.join()


def test_map_array_in_place_survives_a_kill(tmp_path: Any) -> None:
    flag = str(tmp_path / "killed")

    def add_one(rows: np.ndarray) -> np.ndarray:
        if rows[0, 0] > 60 and not os.path.exists(flag):
            open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return rows + 1

    values = np.repeat(np.arange(100.0)[:, None], 50_000, axis=1)
    shared = pardata.array(values)
    with pardata.WorkerPool(2) as pool:
        assert pool.map_array(add_one, shared, out=shared) is shared
    assert os.path.exists(flag)
    assert np.array_equal(shared, values + 1)


def test_a_consumer_that_keeps_everything_gets_an_error_that_names_the_stage() -> None:
    frames = (np.ones(500_000) for _ in range(10**9))
    kept = []
    with pytest.raises(pardata.CapacityError, match=r"'adder'.*of the limit of 100\.0 MB") as caught:
        for item in pardata.source(frames).map(lambda x: x + 1, name="adder").iterate(memory_limit=100_000_000):
            kept.append(item)
    assert len(kept) > 5
    assert any("item" in note for note in caught.value.__notes__)


def test_a_consumer_that_keeps_everything_and_fits_completes() -> None:
    frames = (np.full(50_000, n, float) for n in range(100))
    kept = list(pardata.source(frames).map(lambda x: x + 1))
    assert [item[0] for item in kept] == [n + 1 for n in range(100)]


def test_a_small_limit_slows_down_and_does_not_fail() -> None:
    frames = (np.full(500_000, n, float) for n in range(60))
    stream = pardata.source(frames).map(lambda x: x + 1).map(lambda x: x + 1).map(lambda x: x + 1)
    with stream.iterate(memory_limit=50_000_000) as run:
        assert [item[0] for item in run] == [n + 3 for n in range(60)]


def test_a_stage_that_cannot_be_pickled_is_refused_before_anything_starts() -> None:
    lock = threading.Lock()
    with pytest.raises(pardata.ConfigError, match=r"test_bad_luck\.py:\d+.*captured variable 'lock'"):
        pardata.source([1]).map(lambda x: (lock, x)).run()
    with pardata.WorkerPool(1) as pool, pytest.raises(pardata.ConfigError, match=r"captured variable 'lock'"):
        pool.submit(lambda: lock)


def test_a_result_that_cannot_be_pickled_names_stage_item_and_part() -> None:
    with pytest.raises(pardata.SerializationError, match=r"'maker' for item 0.*key 'lock' is a _thread\.lock"):
        list(pardata.source([1]).map(lambda x: {"lock": threading.Lock()}, name="maker"))


def test_an_argument_that_cannot_be_pickled_fails_its_own_future_only() -> None:
    with pardata.WorkerPool(1) as pool:
        with pytest.raises(TypeError, match="pickle"):
            pool.submit(print, threading.Lock()).result()
        assert pool.submit(pow, 2, 2).result() == 4


def test_a_consumer_that_raises_ends_the_run() -> None:
    with pytest.raises(ZeroDivisionError):
        for item in pardata.source(endless).map(lambda x: x):
            item / (item - 5)


def test_two_tokens_do_not_deadlock_branches_of_unequal_speed() -> None:
    stem = pardata.source(range(200)).map(lambda x: x, workers=2)
    slow = stem.map(lambda x: sum(range(2_000)) * 0 + x, workers=2).filter(lambda x: x % 2)
    fast = stem.map(lambda x: -x)
    with pardata.zip(slow, fast).iterate(tokens=2) as run:
        assert list(run) == [(x, -x) for x in range(200) if x % 2]


class Abandoned(BaseException):
    """As those of asyncio and of test frameworks, no Exception."""


@pytest.mark.parametrize(
    ("raised", "expected", "words"),
    [
        (Abandoned("here"), Abandoned, "here"),
        (KeyboardInterrupt(), RuntimeError, "the function raised KeyboardInterrupt"),
        (GeneratorExit(), RuntimeError, "the function raised GeneratorExit"),
    ],
)
def test_what_is_no_exception_is_not_taken_for_a_crash(
    raised: BaseException, expected: type[BaseException], words: str
) -> None:
    def fail(x: int) -> int:
        if x == 2:
            raise raised
        return x

    with pytest.raises(expected, match=words) as caught:
        pardata.source(range(5)).map(fail, chunksize=1).run()
    assert "in stage 'fail', item 2" in caught.value.__notes__


class Filter:
    """A generator filter that can be taken up again."""

    def __init__(self, fn: Callable[[int], int]) -> None:
        self.fn = fn

    def __call__(self, items: Iterator[int]) -> Iterator[int]:
        for item in items:
            yield self.fn(item)

    def snapshot(self) -> None:
        pass

    def restore(self, state: None) -> None:
        pass


def stage(fn: Callable[[int], int], **options: Any) -> list[int]:
    return list(pardata.source(range(4)).map(fn, chunksize=4, **options))


def filtered(made: Any) -> list[int]:
    return list(pardata.source(range(4)).map(abs, chunksize=4) | made)


def source(fn: Callable[[int], int]) -> list[int]:
    def items() -> Iterator[int]:
        yield from map(fn, range(4))

    return list(pardata.source(items))


def mapped(fn: Callable[..., int], *items: range) -> list[int]:
    with pardata.WorkerPool(1) as pool:
        return list(pool.map(fn, *items, chunksize=4))


def submitted(fn: Callable[[int], int]) -> list[int]:
    with pardata.WorkerPool(1) as pool:
        return [pool.submit(fn, number).result() for number in range(4)]


def rows(fn: Callable[[int], int]) -> list[int]:
    with pardata.WorkerPool(1) as pool:
        found = pool.map_array(lambda row: row * 0 + fn(int(row[0])), np.arange(4), chunksize=1)
        return [int(value) for value in found]


WAYS: dict[str, Callable[[Callable[[int], int]], list[int]]] = {
    "stage": stage,
    "stage with retries": partial(stage, retries=2),
    "generator filter": lambda fn: filtered(lambda items: map(fn, items)),
    "filter with a state": lambda fn: filtered(Filter(fn)),
    "source": source,
    "submit": submitted,
    "map": lambda fn: mapped(fn, range(4)),
    "map of two": lambda fn: mapped(lambda x, _: fn(x), range(4), range(4)),
    "map_array": rows,
}


@pytest.mark.parametrize("leaves_by", ["return", "exception", "sys.exit"])
@pytest.mark.parametrize("way", WAYS)
def test_a_child_that_comes_back_from_the_function_is_not_another_worker(
    tmp_path: Path, leaves_by: str, way: str
) -> None:
    def fork(x: int) -> int:
        with open(tmp_path / "calls", "a") as calls:
            calls.write(f"{x} ")
        child = os.fork()
        if not child:
            if leaves_by == "exception":
                sys.stderr = open(tmp_path / "told", "a")  # noqa: SIM115 - the end of the child closes it
                raise ValueError(x)
            if leaves_by == "sys.exit":
                sys.exit(7)
            return -1
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    exit_code = {"return": 0, "exception": 1, "sys.exit": 7}[leaves_by]
    assert WAYS[way](fork) == [exit_code] * 4
    assert (tmp_path / "calls").read_text() == "0 1 2 3 "
    if leaves_by == "exception":
        told = (tmp_path / "told").read_text()
        assert [f"ValueError: {x}\n" in told for x in range(4)] == [True] * 4


def test_a_child_that_asks_a_generator_filter_s_input_for_more_leaves(tmp_path: Path) -> None:
    def fork(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            with open(tmp_path / "calls", "a") as calls:
                calls.write(f"{item} ")
            child = os.fork()
            if not child:
                continue
            yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert filtered(fork) == [0] * 4
    assert (tmp_path / "calls").read_text() == "0 1 2 3 "


def test_a_child_does_not_save_the_state_of_its_filter(tmp_path: Path) -> None:
    class Forking(Filter):
        def __call__(self, items: Iterator[int]) -> Iterator[int]:
            for item in items:
                if item == 2:
                    child = os.fork()
                    if not child:
                        return
                    os.waitpid(child, 0)
                    if not (tmp_path / "died").exists():
                        (tmp_path / "died").touch()
                        os.kill(os.getpid(), signal.SIGKILL)
                yield item

    stream = pardata.source(range(5)).map(abs, chunksize=1) | Forking(abs)
    with stream.iterate() as run:
        assert list(run) == list(range(5))


def test_a_child_may_draw_a_bar_and_have_a_run_and_a_pool_of_threads(tmp_path: Path) -> None:
    def fork(x: int) -> int:
        child = os.fork()
        if not child:
            for _ in pardata.worker().progress(range(3)):
                pass
            total = sum(pardata.source(range(4)).map(abs, retries=1).iterate(engine="serial"))
            with pardata.WorkerPool(1, kind="thread") as pool:
                os._exit(total + sum(pool.map(abs, range(4))))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert submitted(fork) == [12] * 4
