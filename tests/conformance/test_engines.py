"""One suite for all engines: each gives what plain Python gives, and what the serial engine gives."""

import functools
import gc
import io
import itertools
import os
import signal
import threading
import time
from typing import ClassVar

import numpy as np
import pytest
from tqdm import tqdm

import pardata
from tests.conformance.stages import (
    LARGE,
    PAYLOADS,
    SMALL,
    WRAPPINGS,
    Countdown,
    SensorError,
    count_to,
    count_up,
    failing,
    overtaken,
    pipe_fails,
    plain,
    raise_at_three,
    values,
    writable,
    yield_nothing,
)

ENGINES = ["serial", "threads", "processes"]
CONCURRENT = ENGINES[1:]


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture
def farm(engine, tmp_path):
    """Farm out a stage of a stream of numbers in such a way that item 1 overtakes item 0 (where there is a farm)."""
    fifos = itertools.count()

    def farmed(stream, ordered=True):
        fifo = str(tmp_path / str(next(fifos)))
        os.mkfifo(fifo)
        wait = overtaken(fifo) if engine != "serial" else lambda x: x
        return stream.map(wait, workers=2, chunksize=1, ordered=ordered)

    return farmed


def run(stream, engine, **options):
    """All items of a stream."""
    with stream.iterate(engine=engine, **options) as items:
        return list(items)


def check(make, expected, engine, in_order=True, **options):
    """Compare what the stream that `make()` returns gives with `expected`, and with the serial engine."""
    arrange = list if in_order else sorted
    assert plain(arrange(run(make(), engine, **options))) == plain(arrange(expected))
    if engine != "serial":
        assert plain(arrange(run(make(), "serial"))) == plain(arrange(expected))


def numbers(count=200):
    return pardata.source(range(count))


# -- sources -----------------------------------------------------------------------------------------------------------


SOURCES = {
    "list": (lambda: [3, "a", None, 2.5], [3, "a", None, 2.5]),
    "range": (lambda: range(1000), list(range(1000))),
    "dict": (lambda: {"a": 1, "b": 2}, ["a", "b"]),
    "iterator": (lambda: Countdown(50), list(range(49, -1, -1))),
    "generator object": (lambda: count_to(70), list(range(70))),
    "generator function": (lambda: count_up, list(range(100))),
    "partial": (lambda: functools.partial(count_to, 60), list(range(60))),
    "bound generator method": (lambda: Countdown(40).up, list(range(40))),
    "rows": (lambda: np.arange(12.0).reshape(4, 3), list(np.arange(12.0).reshape(4, 3))),
    "large rows": (lambda: np.arange(90_000).reshape(3, -1), list(np.arange(90_000).reshape(3, -1))),
    "scalars": (lambda: np.arange(5, dtype=np.int16), list(range(5))),
    "empty list": (lambda: [], []),
    "empty generator function": (lambda: yield_nothing, []),
    "empty array": (lambda: np.empty((0, 3)), []),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_source(engine, kind):
    items, expected = SOURCES[kind]
    check(lambda: pardata.source(items()), expected, engine)
    check(lambda: pardata.source(items()).map(lambda x: (x, 1)), [(item, 1) for item in expected], engine)


def test_source_object_is_closed_when_the_consumer_leaves(engine):
    ended = threading.Event()

    def endless():
        try:
            yield from itertools.count()
        finally:
            ended.set()

    with pardata.source(endless()).map(lambda x: x).iterate(engine=engine) as items:
        for item in items:
            if item == 20:
                break
    assert ended.is_set()


@pytest.mark.parametrize("engine", CONCURRENT)
def test_items_do_not_wait_for_later_ones(engine):
    seen = threading.Event()

    def asks_for_an_answer():
        for number in range(300):
            yield number
            if number % 100 == 99:
                seen.wait()
                seen.clear()

    def same(items):
        yield from items

    stream = pardata.source(asks_for_an_answer()) | same
    with stream.map(lambda x: x, workers=2).filter(lambda x: x % 2).iterate(engine=engine) as items:
        for item in items:
            if item % 100 == 99:
                seen.set()
    assert item == 299


# -- map and filter ----------------------------------------------------------------------------------------------------


def test_map_of_a_closure(engine):
    table, factor = np.arange(200) * 3, 7
    check(lambda: numbers().map(lambda x: int(table[x]) * factor), [x * 21 for x in range(200)], engine)


@pytest.mark.parametrize("fn", [abs, functools.partial(max, 50), np.square], ids=["builtin", "partial", "ufunc"])
def test_map_of_what_is_not_a_function(engine, fn):
    check(lambda: numbers().map(fn), [fn(x) for x in range(200)], engine)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_farm_does_not_lose_the_order(engine, workers):
    check(lambda: numbers(500).map(lambda x: x * x, workers=workers), [x * x for x in range(500)], engine)


def test_order_returns_behind_a_farm(engine, farm):
    def shift(items):
        yield from itertools.pairwise(itertools.chain([-1], items))

    farmed = farm(numbers(50))
    assert run(farmed, engine) == list(range(50))
    assert run(farm(numbers(50)) | shift, engine) == [(x - 1, x) for x in range(50)]
    assert run(farm(numbers(50)).map(str), engine) == [str(x) for x in range(50)]


def test_order_returns_behind_farms_of_farms(engine, farm):
    stream = farm(numbers(50)).map(lambda x: x, workers=3).filter(lambda x: x % 3 != 2, workers=2)
    assert run(stream, engine) == [x for x in range(50) if x % 3 != 2]


def test_zip_behind_farms_pairs_by_number(engine, farm):
    source = numbers(50)
    stream = pardata.zip(farm(source), farm(source, ordered=False).filter(lambda x: x % 5 != 4), source)
    assert run(stream, engine) == [(x, x, x) for x in range(50) if x % 5 != 4]


@pytest.mark.parametrize("engine", CONCURRENT)
def test_unordered_farm_hands_on_what_is_finished(engine, tmp_path):
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)

    def wait(x):
        if x == 0:
            open(fifo).close()  # until the consumer has item 1
        return x

    got = []
    with numbers(50).map(wait, workers=2, chunksize=1, ordered=False).map(abs).iterate(engine=engine) as items:
        for item in items:
            got.append(item)
            if item == 1:
                open(fifo, "w").close()
    assert got.index(1) < got.index(0)
    assert sorted(got) == list(range(50))


def test_unordered_farm_gives_the_same_items(engine):
    def make():
        return numbers(500).map(lambda x: -x, workers=3, ordered=False).filter(lambda x: x % 7, workers=2)

    check(make, [-x for x in range(500) if x % 7], engine, in_order=False)


@pytest.mark.parametrize("workers", [1, 3])
def test_filter(engine, workers):
    check(lambda: numbers().filter(lambda x: x % 5 == 2, workers=workers), list(range(2, 200, 5)), engine)
    check(lambda: numbers().filter(lambda x: False, workers=workers), [], engine)


@pytest.mark.parametrize("chunksize", [1, 2, 7, 64])
def test_chunksize_changes_nothing(engine, chunksize):
    def make():
        kept = numbers(150).filter(lambda x: x % 3, chunksize=chunksize)
        return pardata.zip(kept.map(str, workers=2), kept)

    check(make, [(str(x), x) for x in range(150) if x % 3], engine)


# -- graphs ------------------------------------------------------------------------------------------------------------


def test_filter_before_zip_pairs_by_number(engine):
    def make():
        source = numbers()
        odd, fourth = source.filter(lambda x: x % 2), source.filter(lambda x: x % 4 == 1, workers=2)
        return pardata.zip(odd.map(lambda x: -x, workers=2), fourth, source)

    check(make, [(-x, x, x) for x in range(200) if x % 4 == 1], engine)


def test_fan_out_and_zip(engine):
    def make():
        clean = numbers().map(lambda x: x + 1)
        return pardata.zip(clean.map(lambda x: x * 2, workers=2), clean, clean.map(str))

    check(make, [(2 * x, x, str(x)) for x in range(1, 201)], engine)


def test_zip_and_merge_of_one_stream_with_itself(engine):
    source = numbers(50)
    check(lambda: pardata.zip(source, source), [(x, x) for x in range(50)], engine)
    check(lambda: pardata.merge(source, source), [*range(50)] * 2, engine, in_order=False)


def test_zip_into_a_farm(engine):
    def make():
        source = numbers()
        return pardata.zip(source, source.map(lambda x: x * x)).map(sum, workers=3)

    check(make, [x + x * x for x in range(200)], engine)


def test_fan_out_and_merge(engine):
    def make():
        source = numbers()
        thousands = source.map(lambda x: 1000 + x, workers=2)
        return pardata.merge(source.map(lambda x: x), thousands, source.map(str)).map(repr)

    expected = [repr(item) for x in range(200) for item in (x, 1000 + x, str(x))]
    check(make, expected, engine, in_order=False)


def test_merge_keeps_the_order_of_each_source(engine):
    def make():
        return pardata.merge(numbers(300), pardata.source(range(1000, 1200)).map(lambda x: x), pardata.source([]))

    got = run(make(), engine)
    assert [x for x in got if x < 1000] == list(range(300))
    assert [x for x in got if x >= 1000] == list(range(1000, 1200))
    assert sorted(run(make(), "serial")) == sorted(got)


@pytest.mark.parametrize("engine", CONCURRENT)
def test_merge_does_not_wait_for_one_of_its_streams(engine):
    seen = threading.Event()

    def waits():
        seen.wait()
        yield -1

    got = []
    with pardata.merge(pardata.source(waits()), numbers(50).map(lambda x: x)).iterate(engine=engine) as items:
        for item in items:
            got.append(item)
            if len(got) == 50:
                seen.set()
    assert got == [*range(50), -1]


def test_merged_streams_are_zipped_by_source_and_number(engine):
    def make():
        both = pardata.merge(numbers(100), pardata.source(range(1000, 1050)))
        return pardata.zip(both.map(lambda x: -x, workers=2), both)

    check(make, [(-x, x) for x in [*range(100), *range(1000, 1050)]], engine, in_order=False)


def test_nested_branches(engine):
    def make():
        root = numbers(120)
        left = pardata.zip(root.map(lambda x: x + 1, workers=2), root.filter(lambda x: x % 2)).map(sum)
        right = pardata.zip(left.map(lambda x: x * 10), left.filter(lambda x: x % 3, workers=2))
        return pardata.zip(right, root.map(str))

    odd = [(x, 2 * x + 1) for x in range(120) if x % 2]
    check(make, [((10 * both, both), str(x)) for x, both in odd if both % 3], engine)


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_few_tokens_do_not_stop_a_run(engine, tokens):
    def running_total(items):
        total = 0
        for item in items:
            total += item
            yield total

    def make():
        source = numbers()
        triples = pardata.zip(source.map(lambda x: x, workers=3), source.filter(lambda x: x % 2), source)
        return pardata.merge(triples.map(sum, workers=2) | running_total, numbers(30), numbers(0))

    expected = [*itertools.accumulate(3 * x for x in range(200) if x % 2), *range(30)]
    check(make, expected, engine, in_order=False, tokens=tokens)


@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_source_is_not_ahead_by_more_than_its_tokens(engine, tokens):
    sent = 0

    def endless():
        nonlocal sent
        for number in itertools.count():
            sent = number + 1
            yield number

    stream = pardata.source(endless()).map(lambda x: x, workers=2, chunksize=1).filter(lambda x: True)
    with stream.iterate(engine=engine, tokens=tokens) as items:
        for item in itertools.islice(items, 100):
            assert sent <= item + 1 + tokens + 1  # the consumer has this one, and the next one may wait for its token


# -- generator filters -------------------------------------------------------------------------------------------------


def test_pipe_keeps_its_state(engine):
    def running_total(items):
        total = 0
        for item in items:
            total += item
            yield total

    def make():
        return numbers().map(lambda x: x, workers=3) | running_total

    check(make, list(itertools.accumulate(range(200))), engine)


def test_pipe_yields_more_or_less_than_it_takes(engine):
    def words(lines):
        for line in lines:
            yield from line.split()

    def pairs(items):
        yield from zip(items, items, strict=False)

    def make():
        return pardata.source(["to be", "", "or not to", "be"]) | words | pairs

    check(make, [("to", "be"), ("or", "not"), ("to", "be")], engine)


def test_pipe_that_takes_nothing_or_yields_nothing(engine):
    def constant(items):
        yield from "abc"

    def swallow(items):
        for _ in items:
            pass
        return
        yield

    check(lambda: numbers() | constant, list("abc"), engine)
    check(lambda: numbers() | swallow, [], engine)


@pytest.mark.parametrize("function", [True, False], ids=["generator function", "iterator"])
def test_pipe_ends_early_over_an_endless_source(engine, function):
    def count():
        yield from itertools.count()

    def head(items):
        return itertools.islice(items, 5)

    def make():
        return (pardata.source(count if function else itertools.count()) | head).map(lambda x: -x)

    check(make, [0, -1, -2, -3, -4], engine)
    make().run(engine=engine)


def test_pipe_ends_early_in_one_of_two_branches(engine):
    def head(items):
        return itertools.islice(items, 5)

    def make():
        source = numbers(1000)
        return pardata.merge(source | head, source.map(lambda x: -x, workers=2))

    check(make, [0, 1, 2, 3, 4, *range(0, -1000, -1)], engine, in_order=False)


@pytest.mark.parametrize("end", ["all", "break", "head"])
def test_pipe_is_set_up_and_torn_down(engine, end, tmp_path):
    log = tmp_path / "log"

    def stage(items):
        with log.open("a") as file:
            file.write("up ")
            try:
                yield from items
            finally:
                file.write("down ")

    def head(items):
        return itertools.islice(items, 5)

    stream = numbers(5000) | stage
    with (stream | head if end == "head" else stream).iterate(engine=engine) as items:
        for item in items:
            if end == "break" and item == 20:
                break
    assert log.read_text() == "up down "


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_yielded_buffer_may_be_used_again(engine, size):
    def frames():
        buffer = np.empty(size)
        for number in range(6):
            buffer[:] = number
            yield buffer

    def doubled(items):
        buffer = np.empty(size)
        for item in items:
            np.multiply(item, 2, out=buffer)
            yield buffer[1:]

    expected = [np.full(size - 1, 2.0 * x) for x in range(6)]
    check(lambda: pardata.source(frames) | doubled, expected, engine)
    check(lambda: pardata.source(frames()) | doubled, expected, engine)


KEPT = {
    "itself": lambda array: array,
    "a view": lambda array: array[:],
    "a view of a view": lambda array: array[1:].view("i8")[::-1].view("f8"),
    "in a tuple": lambda array: (array, array[1:]),
}


class Keeps:
    """Has an array in shared memory, writes to it for each item, and returns it or a part."""

    def __init__(self, size, part):
        self.size, self.part, self.kept = size, part, None

    def __call__(self, x):
        if self.kept is None:
            self.kept = pardata.empty(self.size)
        self.kept[:] = x
        return self.part(self.kept)

    def each(self, items):
        for item in items:
            yield self(item)


@pytest.mark.parametrize("part", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("chunksize", [1, 3])
def test_array_in_shared_memory_that_a_stage_keeps_and_writes_to_again(engine, size, part, chunksize):
    def frames():
        yield from Keeps(size, part).each(range(7))

    expected = [part(np.full(size, float(x))) for x in range(7)]
    check(lambda: pardata.source(range(7)).map(Keeps(size, part), chunksize=chunksize), expected, engine)
    check(lambda: pardata.source(range(7)) | Keeps(size, part).each, expected, engine)
    check(lambda: pardata.source(frames), expected, engine)


def test_array_that_a_stage_may_change_and_keeps(engine):
    """Its base as well, while later messages come."""

    class KeepsWhatItGets:
        def __init__(self):
            self.kept = []

        def __call__(self, array):
            self.kept += [array, array.base]
            for kept in self.kept:
                if isinstance(kept, np.ndarray) and kept.flags.writeable:
                    kept.view("u1")[...] = 7
            array[...] = len(self.kept)
            return array[:]

    def make():
        arrays = pardata.source(range(4)).map(lambda x: np.full(LARGE, float(x)))
        return arrays.map(KeepsWhatItGets(), inplace=True)

    check(make, [np.full(LARGE, 2.0 + 2 * x) for x in range(4)], engine)


def test_yielded_object_may_be_used_again(engine):
    def rows():
        row = {}
        for number in range(6):
            row["number"] = number
            row["array"] = np.full(SMALL, number)
            yield row

    check(lambda: pardata.source(rows), [{"number": x, "array": np.full(SMALL, x)} for x in range(6)], engine)


# -- what items may be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PAYLOADS)
def test_items_arrive_as_they_were_sent(engine, kind):
    payload = PAYLOADS[kind]

    def make():
        made = pardata.source([payload(), payload()])
        return pardata.zip(made.map(lambda x: x).map(lambda x: x, workers=2), made)

    check(make, [(payload(), payload())] * 2, engine)
    check(lambda: pardata.source(range(3)).map(lambda _: payload()), [payload()] * 3, engine)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_large_arrays_are_received_read_only(engine, size, wrapping):
    wrap = WRAPPINGS[wrapping]
    arrays = [wrap(values(size)) for _ in range(3)]
    source = pardata.source(arrays)
    small = [size == SMALL] * 3
    assert run(source.map(writable), engine) == small
    assert run(pardata.zip(source, source).map(writable), engine) == small
    assert run(source.map(writable, inplace=True), engine) == [True] * 3
    assert all(map(writable, arrays))


def test_writing_to_a_received_array_is_an_error(engine):
    def spoil(array):
        array += 1

    with pytest.raises(ValueError, match="read-only"):
        run(pardata.source([values(LARGE)]).map(spoil), engine)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_inplace_changes_its_own_memory_only(engine, size):
    arrays = [np.full(size, float(x)) for x in range(4)]

    def add_one(array):
        array += 1
        return array

    def add_to_pair(pair):
        pair[0][:] += 1
        return pair[0] - pair[1]

    def chain():
        return pardata.source(arrays).map(add_one, inplace=True).map(add_one, inplace=True, workers=2)

    def zipped():
        source = pardata.source(arrays)
        return pardata.zip(source.map(lambda x: x), source.map(lambda x: x)).map(add_to_pair, inplace=True)

    check(chain, [np.full(size, x + 2.0) for x in range(4)], engine)
    check(zipped, [np.ones(size)] * 4, engine)
    check(lambda: pardata.source(np.array(arrays)).map(add_one, inplace=True), [a + 1 for a in arrays], engine)
    assert [array[0] for array in arrays] == [0, 1, 2, 3]


def test_readers_of_one_stream_have_objects_of_their_own(engine):
    class Box:
        def __init__(self, content):
            self.content = content

    def grow(box):
        box.content.append("grown")
        return box.content

    boxes = [Box([x]) for x in range(20)]
    source = pardata.source(boxes)
    got = run(pardata.zip(source.map(grow), source.map(lambda box: list(box.content))), engine)
    assert got == [([x, "grown"], [x]) for x in range(20)]
    assert [box.content for box in boxes] == [[x] for x in range(20)]


def test_results_outlive_the_run(engine):
    def make():
        return pardata.source(range(4)).map(lambda x: np.full(LARGE, float(x)), workers=2)

    kept = run(make(), engine)
    again = run(make(), engine)
    assert [array[-1] for array in kept] == [array[-1] for array in again] == [0, 1, 2, 3]


def test_shared_arrays_pass_through(engine):
    def fill(x):
        made = pardata.empty((50, 100))
        made[:] = x
        return made

    check(lambda: pardata.source(range(5)).map(fill).map(np.sum), [5000.0 * x for x in range(5)], engine)
    volume = pardata.zeros((4, 3000))
    check(lambda: pardata.source(volume).map(np.sum), [0.0] * 4, engine)


# -- errors ------------------------------------------------------------------------------------------------------------


def with_a_pair(stream):
    return pardata.zip(stream, stream)


ERRORS = {
    "map": (lambda: numbers().map(failing(3), name="bad"), 3),
    "first item": (lambda: numbers().map(failing(0), name="bad"), 0),
    "last item": (lambda: numbers().map(failing(199), name="bad"), 199),
    "farm": (lambda: numbers().map(failing(77), workers=3, name="bad"), 77),
    "unordered farm": (lambda: numbers().map(failing(77), workers=2, ordered=False, name="bad"), 77),
    "filter": (lambda: numbers().filter(failing(8), name="bad"), 8),
    "behind a filter": (lambda: numbers().filter(lambda x: x % 2).map(failing(5), name="bad"), 5),
    "in a batch": (lambda: numbers().map(failing(9), chunksize=16, name="bad"), 9),
    "in a branch": (lambda: with_a_pair(numbers().map(failing(3), name="bad")).map(lambda x: x, workers=2), 3),
    "generator function": (lambda: pardata.source(raise_at_three, name="bad").map(lambda x: x), 3),
    "generator object": (lambda: pardata.source(raise_at_three(), name="bad").map(lambda x: x), 3),
    "pipe": (lambda: numbers() | pipe_fails, 3),
    "pipe behind a filter": (lambda: numbers().filter(lambda x: x % 3 == 0) | pipe_fails, 3),
}


@pytest.mark.parametrize("place", ERRORS)
@pytest.mark.parametrize("how", ["iterate", "run"])
def test_error_reaches_the_caller(engine, place, how):
    make, number = ERRORS[place]
    with pytest.raises(SensorError) as caught:
        make().run(engine=engine) if how == "run" else run(make(), engine)
    error = caught.value
    assert error.args == ("no signal", 7) and error.code == 7
    (note,) = error.__notes__
    assert note.startswith(f"in stage {'pipe_fails' if 'pipe' in place else 'bad'!r}, item {number}")
    if engine == "processes" and place != "generator object":
        assert isinstance(error.__cause__, pardata.RemoteTraceback)
        assert "no signal" in str(error.__cause__) and "Traceback" in str(error.__cause__)
    else:
        assert error.__cause__ is None


def test_note_shows_the_item(engine):
    with pytest.raises(ZeroDivisionError) as caught:
        run(pardata.source([(1, "a"), (0, "b")]).map(lambda x: 1 // x[0], name="divide"), engine)
    assert caught.value.__notes__ == ["in stage 'divide', item 1: (0, 'b')"]


@pytest.mark.parametrize("engine", ["serial", "threads"])
def test_error_of_this_process_is_the_original_object(engine):
    error, context = ValueError("x"), KeyError("y")

    def fail(x):
        try:
            raise context
        except KeyError:
            raise error  # noqa: B904 - so that it has a context and no cause

    with pytest.raises(ValueError) as caught:
        run(numbers().map(fail), engine)
    assert caught.value is error
    assert error.__context__ is context and error.__cause__ is None and not error.__suppress_context__


def test_error_that_cannot_be_pickled(engine):
    class Held(Exception):
        def __init__(self, lock):
            super().__init__("held")
            self.lock = lock

    def fail(x):
        raise Held(threading.Lock())

    with pytest.raises(pardata.RemoteError if engine == "processes" else Held, match="held"):
        run(numbers().map(fail), engine)


def test_stop_iteration_does_not_end_the_run_silently(engine):
    with pytest.raises(RuntimeError, match="StopIteration"):
        run(numbers().map(lambda x: next(iter(()))), engine)


def test_error_comes_also_when_the_consumer_is_slow(engine):
    with pytest.raises(SensorError), numbers(1000).map(failing(500)).iterate(engine=engine) as items:
        got = next(items)
        assert got == 0
        for item in items:
            got += 1
            assert item == got


@pytest.mark.parametrize("workers", [1, 3])
def test_skipped_items_are_reported(engine, workers):
    def odd_only(x):
        if x % 50 == 10:
            raise ValueError(f"bad {x}")
        return x

    stream = numbers().map(odd_only, errors="skip", workers=workers, name="picky").map(lambda x: x)
    with stream.iterate(engine=engine) as items:
        got = list(items)
    assert got == [x for x in range(200) if x % 50 != 10]
    report = items.report()
    assert [(each.stage, each.number, each.item, each.error) for each in report.skipped] == [
        ("picky", x, str(x), f"ValueError: bad {x}") for x in (10, 60, 110, 160)
    ]
    assert all("odd_only" in each.traceback for each in report.skipped)
    assert [(each.name, each.items, each.failed) for each in report.stages] == [
        ("source", 200, 0),
        ("picky", 200, 4),
        ("lambda", 196, 0),
    ]
    assert "item 110" in str(report)


def test_items_skipped_behind_a_merge_are_told_apart(engine):
    streams = [pardata.source([f"{name}{number}" for number in range(3)]) for name in "ab"]
    report = pardata.merge(*streams).map(int, errors="skip").run(engine=engine)
    assert sorted(each.item for each in report.skipped) == [repr(f"{name}{x}") for name in "ab" for x in range(3)]


def test_skipped_items_drop_their_pair(engine):
    def make():
        source = numbers(60)
        whole = source.map(lambda x: 60 // (x % 7), errors="skip", workers=2)
        kept = source.filter(lambda x: 60 // (x % 5), errors="skip")
        return pardata.zip(whole, kept)

    check(make, [(60 // (x % 7), x) for x in range(60) if x % 7 and x % 5], engine)


# -- leaving -----------------------------------------------------------------------------------------------------------


def busy_graph():
    def count():
        yield from itertools.count()

    def same(items):
        yield from items

    source = pardata.source(count)
    branches = pardata.zip(source.map(lambda x: np.full(3000, x), workers=2), source.filter(lambda x: x % 2))
    return pardata.merge(branches, pardata.source(itertools.count()) | same)


@pytest.mark.parametrize("taken", [0, 1, 50])
def test_break_ends_the_run(engine, taken):
    with busy_graph().iterate(engine=engine) as items:
        assert len(list(itertools.islice(items, taken))) == taken
    with pytest.raises(StopIteration):
        next(items)
    items.close()


def test_loop_over_a_stream_may_be_left():
    for count, _ in enumerate(busy_graph()):
        if count == 20:
            break
    gc.collect()


def test_run_ends_when_nobody_holds_it(engine):
    items = busy_graph().iterate(engine=engine)
    next(items)
    del items
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "pardata-closer":
            thread.join()


def test_exception_of_the_consumer(engine):
    with pytest.raises(LookupError, match="mine"), busy_graph().iterate(engine=engine) as items:
        for count, _ in enumerate(items):
            if count == 20:
                raise LookupError("mine")


def test_interrupt_while_the_consumer_waits(engine):
    def interrupting():
        yield 1
        os.kill(os.getpid(), signal.SIGINT)
        yield from itertools.count()

    with pytest.raises(KeyboardInterrupt):
        pardata.source(interrupting()).filter(lambda x: False).run(engine=engine)


def test_thread_that_is_stuck_is_left_behind():
    stuck, free = threading.Event(), threading.Event()

    def wait(x):
        stuck.set()
        free.wait()
        return x

    with pardata.merge(numbers(), pardata.source(range(3)).map(wait, name="stuck")).iterate(engine="threads") as items:
        next(items)
        stuck.wait()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "pardata-stuck"]
    assert thread.daemon
    free.set()
    thread.join()


def test_two_runs_of_a_stream_at_once(engine):
    stream = numbers(100).map(lambda x: x + 1)
    with stream.iterate(engine=engine) as first, stream.iterate(engine=engine) as second:
        assert list(zip(first, second, strict=True)) == [(x, x) for x in range(1, 101)]


# -- reports -----------------------------------------------------------------------------------------------------------


def test_report_counts(engine):
    def pairs(items):
        for item in items:
            yield item
            yield item

    source = numbers(90)
    kept = source.filter(lambda x: x % 3, name="kept", workers=2)
    stream = pardata.zip(kept, source.map(lambda x: 90 // (x % 10), errors="skip", name="divided")) | pairs
    stream = stream.map(lambda x: x, name="last")
    with stream.iterate(engine=engine) as items:
        got = list(items)
    report = items.report()
    kept_pairs = [x for x in range(90) if x % 3 and x % 10]
    assert len(got) == 2 * len(kept_pairs)
    assert [(each.name, each.workers, each.items, each.dropped, each.failed) for each in report.stages] == [
        ("source", 1, 90, 0, 0),
        ("kept", 2, 90, 30, 0),
        ("divided", 1, 90, 0, 9),
        ("pairs", 1, len(kept_pairs), 0, 0),
        ("last", 1, 2 * len(kept_pairs), 0, 0),
    ]
    assert report.seconds > 0 and report.bottleneck in {each.name for each in report.stages}
    assert all(each.name in str(report) for each in report.stages)


def test_run_into_a_sink(engine, tmp_path):
    def save(x):
        (tmp_path / f"{x}.txt").write_text(str(x * x))

    report = numbers(30).map(lambda x: x + 1).map(save, workers=2).run(engine=engine)
    saved = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert saved == {f"{x}.txt": str(x * x) for x in range(1, 31)}
    assert [each.items for each in report.stages] == [30, 30, 30]
    assert report.skipped == []


def test_run_of_a_source_or_a_pipe_alone(engine):
    def twice(items):
        for item in items:
            yield item
            yield item

    assert [each.items for each in numbers(3000).run(engine=engine).stages] == [3000]
    assert [each.items for each in (numbers(3000) | twice).run(engine=engine).stages] == [3000, 3000]


def test_busy_time_is_that_of_the_function(engine):
    def work(x):
        return sum(i * i for i in range(20_000))

    report = numbers(30).map(work).map(lambda x: x).run(engine=engine)
    _, working, idle = report.stages
    assert working.busy_s > idle.busy_s > 0


def test_several_threads_take_the_items_of_one_run(engine):
    found = []
    with numbers(2000).map(lambda x: x + 1).iterate(engine=engine) as items:
        takers = [threading.Thread(target=lambda: found.extend(items)) for _ in range(3)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()
    assert sorted(found) == list(range(1, 2001))


def test_another_thread_closes_a_run_that_one_waits_for(tmp_path):
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)

    def wait(x):
        return x if x < 2 else open(fifo).close()

    items = numbers().map(wait, chunksize=1).iterate()
    found, has_begun = [next(items)], threading.Event()

    def take():
        for item in items:
            found.append(item)
            has_begun.set()

    taker = threading.Thread(target=take)
    taker.start()
    has_begun.wait()
    items.close()
    taker.join()
    assert found == [0, 1]
    assert next(items, None) is None


class Turn:
    """The lock of a run; `is_awaited` is set when somebody has to wait for it."""

    def __init__(self, lock):
        self._lock = lock
        self.release = lock.release
        self.is_awaited = threading.Event()

    def acquire(self, blocking=True):
        if self._lock.acquire(blocking=False):
            return True
        if not blocking:
            return False
        self.is_awaited.set()
        return self._lock.acquire()

    def __enter__(self):
        self.acquire()

    def __exit__(self, *_):
        self.release()


@pytest.mark.parametrize("engine", CONCURRENT)
def test_close_returns_when_the_run_is_closed_by_whoever_it_is(engine):
    items = numbers(3).map(abs).iterate(engine=engine)
    items._turn = turn = Turn(items._turn)
    report, is_closing = items.report, threading.Event()

    def report_late():
        is_closing.set()
        turn.is_awaited.wait()
        return report()

    items.report = report_late
    taker = threading.Thread(target=list, args=(items,))
    taker.start()
    is_closing.wait()
    items.close()
    is_closed = items._report is not None
    turn.is_awaited.set()
    taker.join()
    assert is_closed
    assert report().stages[-1].items == 3


@pytest.mark.parametrize("engine", CONCURRENT)
def test_a_worker_that_has_ended_is_counted_as_such(engine, tmp_path):
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)

    def hold_up_one(x):
        if x == 0:
            open(fifo).close()
        return x

    stream = numbers(2).map(hold_up_one, workers=2, chunksize=1)
    with stream.iterate(engine=engine) as items:
        while not all(stage.ended_s for stage in items.report().stages):
            pass
        begin = time.perf_counter()
        first, second = items.report().stages[1], items.report().stages[1]
        assert 0 < second.ended_s - first.ended_s < time.perf_counter() - begin
        with open(fifo, "w"):
            assert list(items) == [0, 1]
    report = items.report()
    for stage in report.stages:
        assert 0 < stage.busy_s + stage.starved_s + stage.blocked_s + stage.ended_s <= stage.workers * report.seconds
    assert f"{report.stages[1].ended_s:.2f}" in str(report)


def test_progress_shows_every_stage(engine, capfd):
    numbers(40).map(lambda x: x, name="first").filter(lambda x: x, name="second").run(engine=engine, progress=True)
    shown = capfd.readouterr().err
    assert "first" in shown and "second" in shown and "40/40" in shown


class OwnBar(tqdm):
    """As a user may write one in a script: what cannot be pickled does not matter."""

    made: ClassVar[list] = []
    lock = threading.Lock()

    def __init__(self, *args, **options):
        super().__init__(*args, **{**options, "file": io.StringIO()})
        self.made.append(self)


def test_bars_may_be_of_any_class_or_function(engine):
    OwnBar.made.clear()
    for progress in (
        OwnBar,
        lambda *args, **options: OwnBar(*args, **options),
        functools.partial(OwnBar, colour="green"),
    ):
        numbers(40).map(lambda x: x, name="first").run(engine=engine, progress=progress)
    assert [bar.n for bar in OwnBar.made if "first" in bar.desc] == [40, 40, 40]


def test_what_stages_print_stands_above_the_bars(capfd):
    def told(x):
        if x == 20:
            print("at item", x)
        return x

    numbers(40).map(told).run(progress=True)
    shown = capfd.readouterr()
    assert shown.out == "[told] at item 20\n"
    assert "40/40" in shown.err


# -- refused -----------------------------------------------------------------------------------------------------------


def needs_argument(limit):
    yield limit


def is_shared():
    source = numbers()
    return pardata.zip(source.map(lambda x: x, inplace=True, name="spoiler"), source.map(str))


def skips_numbers():
    source = numbers()
    return pardata.zip(source, source | (lambda items: (yield from items)))


REFUSED = {
    "no workers": (lambda: numbers().map(abs, workers=0), "workers"),
    "half a worker": (lambda: numbers().map(abs, workers=1.5), "workers"),
    "chunksize 0": (lambda: numbers().map(abs, chunksize=0), "chunksize"),
    "chunksize in words": (lambda: numbers().filter(abs, chunksize="large"), "chunksize"),
    "errors": (lambda: numbers().map(abs, errors="ignore"), "ignore"),
    "map of a number": (lambda: numbers().map(3), "function is needed"),
    "pipe of a list": (lambda: numbers() | [1], "function is needed"),
    "function of two arguments behind a zip": (
        lambda: pardata.zip(numbers(), numbers()).map(lambda a, b: a),
        "an item of a zip is a tuple",
    ),
    "function without arguments": (lambda: numbers().map(lambda: 1), "called with one argument"),
    "sink that would be a copy": (lambda: numbers().to([].append), "would fill a copy"),
    "sink that is none": (lambda: numbers().to(None), r"a sink is a list, the path of a \.npy file, or a function"),
    "stage behind a sink": (lambda: numbers().to([]).map(abs), "nothing comes out of 'list'"),
    "letters of a flat_map": (lambda: numbers().flat_map(abs, errors="stream"), "flat_map: errors must be"),
    "source of a number": (lambda: pardata.source(3), "int is not iterable"),
    "source of a function": (lambda: pardata.source(abs), "generator function"),
    "source with an argument": (lambda: pardata.source(needs_argument), "functools.partial"),
    "zip of nothing": (lambda: pardata.zip(), "at least one"),
    "merge of a list": (lambda: pardata.merge(numbers(), [1]), "pardata.source"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_arguments_are_refused_at_once(what):
    make, words = REFUSED[what]
    with pytest.raises(pardata.ConfigError, match=words):
        make()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"engine": "gpu"}, "gpu"), ({"tokens": 0}, "tokens"), ({"memory_limit": 0}, "memory_limit")],
)
def test_wrong_options_of_a_run(options, words):
    with pytest.raises(pardata.ConfigError, match=words):
        numbers().run(**options)
    with pytest.raises(pardata.ConfigError, match=words):
        numbers().iterate(**options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (is_shared, "spoiler.*in place"),
        (lambda: pardata.zip(numbers(), numbers()), "same source"),
        (skips_numbers, "generator"),
    ],
    ids=["inplace on a shared branch", "zip of two sources", "zip across a pipe"],
)
def test_wrong_plans(engine, make, words):
    with pytest.raises(pardata.PlanError, match=words):
        make().run(engine=engine)


def test_closure_that_cannot_be_pickled(engine):
    device = threading.Lock()

    def use(x):
        with device:
            return x

    if engine == "processes":
        with pytest.raises(pardata.ConfigError, match="device"):
            run(numbers().map(use), engine)
    else:
        assert run(numbers(10).map(use), engine) == list(range(10))
