"""Coroutine functions as stages: the same on all engines, with several calls at a time on those that have workers."""

import asyncio
import contextlib
import functools
import itertools
import os
import signal

import numpy as np
import pytest

import pardata

ENGINES = ["serial", "threads", "processes"]
CONCURRENT = ENGINES[1:]


async def double(number):
    for _ in range(number % 3):  # later items may be ready before earlier ones
        await asyncio.sleep(0)
    return 2 * number


async def is_odd(number):
    await asyncio.sleep(0)
    return number % 2


async def filled(number, size=5000):
    await asyncio.sleep(0)
    return np.full(size, number)


async def refuse_sevens(number):
    await asyncio.sleep(0)
    if number % 10 == 7:
        raise ArithmeticError(f"{number} is refused")
    return number


class Session:
    """Opened and closed in the event loop of the calls."""

    def __init__(self, log):
        self._log = log

    async def open(self):
        self._loop = asyncio.get_running_loop()
        note(self._log, "open")

    async def __call__(self, number):
        assert self._loop is asyncio.get_running_loop()
        return number + 1

    async def close(self):
        assert self._loop is asyncio.get_running_loop()
        note(self._log, "close")


def note(path, word):
    with open(path, "a") as file:
        file.write(f"{word}\n")


def words(path):
    return path.read_text().split() if path.exists() else []


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def items(stream, engine, **options):
    with stream.iterate(engine=engine, **options) as run:
        return list(run)


# -- values and order --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"concurrency": 1}, {"workers": 2, "concurrency": 3}, {"kind": "thread"}])
def test_results_come_in_the_order_of_the_items(engine, options):
    assert items(pardata.source(range(60)).map(double, **options), engine) == [2 * number for number in range(60)]


def test_every_kind_of_stage_awaits(engine, tmp_path):
    numbers = pardata.source(range(30))
    assert items(numbers.filter(is_odd), engine) == list(range(1, 30, 2))
    assert sorted(items(numbers.map(double, ordered=False, concurrency=5), engine)) == list(range(0, 60, 2))
    assert items(numbers.map(functools.partial(filled, size=2)), engine)[7].tolist() == [7, 7]

    async def write(number):
        await asyncio.sleep(0)
        note(tmp_path / "sink", str(number))

    assert numbers.to(write, concurrency=4).run(engine=engine).stages[-1].items == 30
    assert sorted(words(tmp_path / "sink"), key=int) == [str(number) for number in range(30)]


def test_branches_and_joins_keep_their_items_together(engine):
    numbers = pardata.source(range(40))
    pairs = pardata.zip(numbers.map(filled), numbers.map(double))
    assert [(int(array.sum()), other) for array, other in items(pairs, engine)] == [
        (5000 * number, 2 * number) for number in range(40)
    ]

    async def total(pair):
        return pair[0] + pair[1]

    joined = pardata.zip(numbers, numbers.map(double)).map(total, concurrency=4)
    assert items(joined, engine) == [3 * number for number in range(40)]
    assert sorted(items(pardata.merge(*numbers.scatter(2)).map(double), engine)) == list(range(0, 80, 2))


def test_a_session_is_opened_and_closed_in_the_loop_of_its_calls(engine, tmp_path):
    session = Session(tmp_path / "log")
    assert items(pardata.source(range(20)).map(session), engine) == list(range(1, 21))
    assert words(tmp_path / "log") == ["open", "close"]
    assert items(pardata.source(range(3)).map(functools.partial(double)), engine) == [0, 2, 4]


def test_a_session_whose_calls_have_more_arguments_is_opened_and_closed_as_well(engine, tmp_path):
    class Adding(Session):
        async def __call__(self, number, more):
            return await super().__call__(number) + more

    adding = Adding(tmp_path / "log")
    assert items(pardata.source([1, 2]).map(adding, 5), engine) == [7, 8]
    assert items(pardata.source([(1, 2), (3, 4)]).starmap(adding), engine) == [4, 8]
    assert words(tmp_path / "log") == ["open", "close"] * 2


def test_calls_have_more_arguments_and_numbers_of_their_own(engine):
    async def add(number, more, *, times=1):
        first = pardata.worker().random.random()
        for _ in range(number % 4):
            await asyncio.sleep(0)
        assert pardata.worker().item == number
        return number + more * times, first, pardata.worker().random.random()

    numbers = pardata.source(range(30))
    found = items(numbers.map(add, 100, times=2, concurrency=7), engine, seed=5)
    assert [number for number, *_ in found] == list(range(200, 230))
    assert found == items(numbers.map(add, 100, times=2, concurrency=2), "serial", seed=5)
    assert len({draw for _, *draws in found for draw in draws}) == 60
    assert items(pardata.source([(0, 2), (1, 4)]).starmap(add), engine, seed=5)[1][0] == 5


@pytest.mark.parametrize("engine", CONCURRENT)
def test_as_many_calls_are_at_work_as_was_asked_for(engine):
    class Meeting:
        async def open(self):
            self.barrier, self.here = asyncio.Barrier(4), 0

        async def __call__(self, item):
            self.here += 1
            await self.barrier.wait()  # nobody gets on before four are here
            here = self.here
            await self.barrier.wait()
            self.here -= 1
            await self.barrier.wait()
            return here

    assert items(pardata.source(range(24)).map(Meeting(), concurrency=4), engine) == [4] * 24
    assert items(pardata.source([np.zeros(5000)] * 8).map(Meeting(), concurrency=4), engine) == [4] * 8


def test_a_call_may_write_to_copies_of_its_own(engine):
    async def raise_by_one(array):
        await asyncio.sleep(0)
        array += 1
        return array

    arrays = pardata.source([np.full(5000, number) for number in range(6)])
    pairs = items(pardata.zip(arrays.map(raise_by_one, writable=True), arrays), engine)
    assert [(one[0], other[-1]) for one, other in pairs] == [(number + 1, number) for number in range(6)]
    with pytest.raises(ValueError, match="read-only"):
        items(arrays.map(raise_by_one), engine)


def test_the_end_of_an_endless_stream(engine):
    endless = pardata.source(itertools.count()).map(double)
    assert items(endless.take(5), engine) == [0, 2, 4, 6, 8]


# -- errors ------------------------------------------------------------------------------------------------------------


def test_the_first_error_ends_the_run_as_what_it_is(engine):
    with pytest.raises(ArithmeticError, match="7 is refused") as caught:
        items(pardata.source(range(9)).map(refuse_sevens), engine)
    assert caught.value.__notes__ == ["in stage 'refuse_sevens', item 7: 7"]


def test_items_that_fail_are_skipped_or_handed_on(engine):
    numbers = pardata.source(range(40))
    expected = [number for number in range(40) if number % 10 != 7]
    with numbers.map(refuse_sevens, errors="skip", concurrency=6).iterate(engine=engine) as run:
        assert list(run) == expected
        assert run.report().stages[1].failed == 4
    tried = numbers.map(refuse_sevens, errors="stream")
    assert items(pardata.merge(tried, tried.failed.map(lambda letter: -letter.item), policy="ordered"), engine) == [
        -number if number % 10 == 7 else number for number in range(40)
    ]


def test_calls_are_tried_again(engine):
    class Unlucky:
        def __init__(self):
            self.tries = {}

        async def __call__(self, number):
            self.tries[number] = self.tries.get(number, 0) + 1
            await asyncio.sleep(0)
            if self.tries[number] < 3:
                raise ConnectionError("try again")
            return self.tries[number]

    assert items(pardata.source(range(5)).map(Unlucky(), retries=2), engine) == [3] * 5
    with pytest.raises(ConnectionError):
        items(pardata.source(range(5)).map(Unlucky(), retries=1), engine)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_call_that_takes_too_long_is_cancelled_and_no_other(engine, tmp_path, kind):
    async def wait(number):
        try:
            await (asyncio.Event().wait() if number == 3 else asyncio.sleep(0))
        except asyncio.CancelledError:
            note(tmp_path / "log", str(number))
            raise
        return number

    stream = pardata.source(range(6))  # the others take no time, but a busy machine may let them wait for a core
    assert items(stream.map(wait, timeout_s=0.25, retries=1, errors="skip", kind=kind), engine) == [0, 1, 2, 4, 5]
    assert words(tmp_path / "log") == ["3"] * 2
    with pytest.raises(pardata.DeadlineExceeded, match=r"item 3 took longer than timeout_s=0.25"):
        items(stream.map(wait, timeout_s=0.25, kind=kind), engine)


@pytest.mark.parametrize("engine", CONCURRENT)
def test_other_calls_are_handed_on_while_one_that_took_too_long_cleans_up(engine):
    class Slow:
        async def open(self):
            self.others = asyncio.Event()

        async def __call__(self, number):
            try:
                if number < 2:
                    await asyncio.Event().wait()
            finally:
                if number == 0:
                    await self.others.wait()
            if number == 3:  # it begins when item 1, which took too long as well, was handed on
                self.others.set()
            return number

    stream = pardata.source(range(10)).map(Slow(), concurrency=2, timeout_s=0.01, errors="skip", chunksize=1)
    assert items(stream, engine) == list(range(2, 10))


def test_what_a_call_raises_of_asyncio_is_its_own(engine):
    async def late(number):
        raise TimeoutError("of the server")

    async def gone(number):
        raise asyncio.CancelledError

    async def leave(number):
        raise SystemExit(3)

    for function, kind, text in [
        (late, TimeoutError, "of the server"), (gone, RuntimeError, "nobody has cancelled"), (leave, RuntimeError, "3")
    ]:  # fmt: skip
        with pytest.raises(kind, match=text):
            items(pardata.source([1]).map(function, timeout_s=60), engine)


@pytest.mark.parametrize("way", ["an error", "the end of the loop"])
@pytest.mark.parametrize("engine", CONCURRENT)
def test_calls_that_are_at_work_at_the_end_are_cancelled_and_clean_up(engine, tmp_path, way):
    async def wait(number):
        note(tmp_path / "begun", str(number))
        if number == 0:
            return number
        try:
            if number == 1 and way == "an error":
                while len(words(tmp_path / "begun")) < 4:
                    await asyncio.sleep(0)
                raise ArithmeticError
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            note(tmp_path / "cleaned", str(number))

    is_over = pytest.raises(ArithmeticError) if way == "an error" else contextlib.nullcontext()
    with is_over, pardata.source(range(4)).map(wait, concurrency=4).iterate(engine=engine) as run:
        next(run)
        while len(words(tmp_path / "begun")) < 4:
            os.sched_yield()
        if way == "an error":
            next(run)
    assert sorted(words(tmp_path / "cleaned")) == ["1", "2", "3"]


def test_a_run_in_a_running_event_loop(engine):
    async def main():
        async def numbers():
            for number in range(10):
                yield number

        return items(pardata.source(numbers).map(double), engine)

    assert asyncio.run(main()) == list(range(0, 20, 2))


# -- kills -------------------------------------------------------------------------------------------------------------


def test_all_calls_that_were_at_work_are_made_again(tmp_path):
    class Meeting:
        async def open(self):
            self.barrier = asyncio.Barrier(4)

        async def __call__(self, item):
            if (tmp_path / "killed").exists():
                return item
            await self.barrier.wait()
            if item == 5:
                note(tmp_path / "killed", "with three others")
                os.kill(os.getpid(), signal.SIGKILL)
            return item

    for stream in pardata.source(range(12)), pardata.source(range(12)).map(int, workers=2):
        (tmp_path / "killed").unlink(missing_ok=True)
        with stream.map(Meeting(), concurrency=4).iterate() as run:
            assert list(run) == list(range(12))
            assert run.report().stages[-1].restarts == 1


def test_the_item_whose_code_kills_its_worker_is_known():
    async def crash(number):
        await asyncio.sleep(0)
        if number == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    stream = pardata.source(range(12))
    assert items(stream.map(crash, errors="skip"), "processes") == [0, 1, 2, 3, 4, 5, *range(7, 12)]
    with pytest.raises(pardata.WorkerLostError, match="they worked on item 6"):
        items(stream.map(crash), "processes")


def test_results_that_do_not_fit_the_memory_limit_wait():
    stream = pardata.source(range(60)).map(functools.partial(filled, size=500_000), concurrency=8)
    totals = stream.map(lambda array: int(array.sum()))
    assert items(totals, "processes", memory_limit=100_000_000) == [500_000 * number for number in range(60)]


@pytest.mark.parametrize("ordered", [True, False])
def test_the_item_that_kills_its_worker_while_calls_are_awaited_is_found_out(ordered):
    """Of the calls at work when they wait none is known to have done it, until they are made one at a time."""

    async def crash(number):
        if number == 6:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGKILL)  # when no step is at work
            await asyncio.Event().wait()
        return number

    stream = pardata.source(range(40)).map(crash, errors="skip", concurrency=4, ordered=ordered)
    with stream.iterate() as run:
        assert sorted(run) == [*range(6), *range(7, 40)]
        assert run.report().stages[1].restarts == 6
    with pytest.raises(pardata.WorkerLostError, match="they worked on item 6"):
        items(pardata.source(range(40)).map(crash), "processes")


def test_calls_go_on_while_results_wait_for_memory(tmp_path):
    class Fill:
        def __init__(self):
            self.here = 0

        async def __call__(self, number):
            if number == 0:
                while len(words(tmp_path / "seen")) < 5:
                    await asyncio.sleep(0)
            self.here += 1
            while number and self.here < 15:  # they return together: 126 MB
                await asyncio.sleep(0)
            return np.full(1_000_000, number)

    def see(array):
        note(tmp_path / "seen", "one")
        return array

    stream = pardata.source(range(30)).map(Fill(), concurrency=16, chunksize=1).map(see, workers=2)
    with stream.iterate(memory_limit=60_000_000) as run:
        assert [int(array[-1]) for array in run] == list(range(30))


# -- what is refused ---------------------------------------------------------------------------------------------------


async def several(number):
    yield number


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda s: s.map(abs, concurrency=4), "'abs' is none: use workers="),
        (lambda s: s.map(double, concurrency=0), "concurrency must be an int of at least 1, not 0"),
        (lambda s: s.map(double, concurrency=5000), "at most 1024, not 5000"),
        (lambda s: s.map(double, inplace=True), "cannot change its items in place"),
        (lambda s: s.map(several), "asynchronous generator function, which can be a source"),
        (lambda s: s | several, "asynchronous generator function, which can be a source"),
        (lambda s: s | double, "a plain function is needed"),
        (lambda s: s.flat_map(double), "a plain function is needed"),
        (lambda s: s.reduce(double, 0), "a plain function is needed"),
        (lambda s: s.partition(double, 2), "a plain function is needed"),
        (lambda s: s.to([], concurrency=2), "goes with a coroutine function"),
        (lambda s: s.to("rows.npy", concurrency=2), "goes with a coroutine function"),
    ],
)
def test_what_cannot_be_is_refused(make, text):
    with pytest.raises(pardata.ConfigError, match=text):
        make(pardata.source([1]))
