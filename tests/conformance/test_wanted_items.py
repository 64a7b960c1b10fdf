"""A stage that ends early gets what it wants: errors of items behind that do not count, others end the run."""

import os
import threading

import pytest

import pardata


@pytest.fixture(params=["serial", "threads", "processes"])
def engine(request):
    return request.param


class Unloadable:
    """Pickles, and cannot be unpickled."""

    def __reduce__(self):
        return int, ("none",)


def bad_source():
    yield from (0, 1, 2)
    raise ValueError("item 3")


def bad(item):
    if item >= 3:
        raise ValueError("item 3")
    return item


async def bad_later(item):
    return bad(item)


async def later(item):
    return item


def bad_filter(items):
    return map(bad, items)


def first_two(items):
    for item in items:
        yield item
        if item == 1:
            return


def catches(items):
    try:
        yield from items
    except BaseException as error:
        if isinstance(error, GeneratorExit):
            raise
        yield -1


def raises_another(items):
    try:
        yield from items
    except Exception:
        raise TypeError("another") from None


def numbers(count=20):
    return pardata.source(range(count))


STREAMS = {
    "source": lambda: pardata.source(bad_source),
    "iterator": lambda: pardata.source(bad_source()),
    "map": lambda: numbers().map(bad),
    "chunks": lambda: numbers().map(bad, chunksize=5),
    "farm": lambda: numbers().map(bad, workers=2),
    "awaiting": lambda: numbers().map(bad_later, concurrency=3),
    "awaiting chunks": lambda: numbers().map(bad_later, concurrency=8, chunksize=4),
    "filter": lambda: numbers().filter(lambda item: bad(item) >= 0),
    "generator": lambda: numbers() | bad_filter,
    "flat_map": lambda: numbers().flat_map(lambda item: [bad(item)]),
    "stages between": lambda: numbers().map(bad, chunksize=7).map(abs).filter(lambda _: True).map(int, workers=2),
    "generators between": lambda: pardata.source(bad_source).batch(1).unbatch().enumerate().map(lambda pair: pair[1]),
    "skips its own": lambda: numbers().map(bad).map(abs, errors="skip"),
    "awaits what failed": lambda: numbers().map(bad).map(bad_later, concurrency=2, errors="skip"),
    "zip": lambda: _zipped(numbers()),
    "pairs": lambda: pardata.zip(numbers(), pardata.source(bad_source), by="position").map(max),
    "concat": lambda: pardata.concat(numbers(2), numbers(9).map(lambda item: bad(item + 2))),
    "ordered": lambda: pardata.merge(*_two(numbers()), policy="ordered"),
    "partition": lambda: _woven(numbers().map(bad).partition(lambda item: item % 2, 2)),
    "partition of chunks": lambda: _woven(numbers().partition(bad, 3)[::-1], chunksize=5),
    "scatter": lambda: _woven(numbers().map(bad).scatter(2)),
    "dead letters": lambda: _with_letters(numbers().map(bad).map(abs, errors="stream")),
    "dead letters of coroutines": lambda: _with_letters(numbers().map(bad).map(later, errors="stream")),
}


def _two(stream):
    return stream.map(bad), stream.filter(lambda item: item > 100)


def _woven(branches, **options):
    return pardata.merge(*(branch.map(abs, **options) for branch in branches), policy="ordered")


def _with_letters(stream):
    return pardata.merge(stream, stream.failed, policy="ordered")


def _zipped(stream):
    return pardata.zip(stream.map(bad), stream.map(abs)).map(max)


@pytest.mark.parametrize("name", STREAMS)
def test_errors_of_items_behind_what_is_wanted_do_not_count(engine, name):
    make = STREAMS[name]
    assert list(make().take(2).iterate(engine=engine)) == [0, 1]
    assert list((make() | first_two).map(abs).iterate(engine=engine)) == [0, 1]
    assert list(make().take(3).iterate(engine=engine)) == [0, 1, 2]


@pytest.mark.parametrize("name", STREAMS)
def test_an_error_of_a_wanted_item_ends_the_run(engine, name):
    got = []
    with pytest.raises(ValueError, match="item 3") as caught:
        for item in STREAMS[name]().take(4).enumerate().iterate(engine=engine):
            got.append(item)
    assert [0, 1, 2][: len(got)] == [item for _, item in got]
    assert any("in stage" in note and "item" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("make_value", [Unloadable, threading.Lock])
def test_items_that_cannot_be_sent_do_not_count_behind_what_is_wanted(engine, make_value):
    def make():
        return numbers().map(lambda item: item if item < 3 else make_value(), chunksize=5)

    assert list(make().take(2).iterate(engine=engine)) == [0, 1]
    if engine == "processes":
        with pytest.raises(pardata.SerializationError, match="item 3|cannot be"):
            list(make().take(4).iterate(engine=engine))


@pytest.mark.parametrize("chunksize", [1, 5])
def test_an_item_that_kills_its_worker_does_not_count_behind_what_is_wanted(chunksize):
    def killing(item):
        return item if item < 3 else os._exit(3)

    def shared():
        return pardata.merge(*numbers().partition(killing, 2), policy="ordered").map(abs, chunksize=chunksize)

    for make in (lambda: numbers().map(killing, chunksize=chunksize), shared):
        assert list(make().take(2).iterate()) == [0, 1]
        with pytest.raises(pardata.WorkerLostError, match="item 3"):
            list(make().take(4).iterate())


def test_each_branch_may_have_what_it_wants_in_front_of_an_error(engine):
    even, odd = numbers().map(bad).partition(lambda item: item, 2)
    first, second = [], []
    pardata.run(even.take(2).to(first), odd.take(1).to(second), engine=engine)
    assert (first, second) == ([0, 2], [1])
    with pytest.raises(ValueError, match="item 3"):
        pardata.run(even.take(2).to([]), odd.take(2).to([]), engine=engine)


def test_nothing_behind_an_item_that_has_failed_is_called(engine):
    called = []

    def noted(item):
        called.append(item)
        return bad(item)

    stream = pardata.source(range(5)).map(noted, chunksize=5, kind="thread").map(abs).take(4)
    with pytest.raises(ValueError, match="item 3"):
        list(stream.iterate(engine=engine))
    assert called == [0, 1, 2, 3]


def test_another_reader_of_the_item_that_has_failed_ends_the_run(engine):
    stem = numbers().map(bad)
    with pytest.raises(ValueError, match="item 3"):
        pardata.run(stem.take(2).to([]), stem.map(abs).to([]), engine=engine)


@pytest.mark.parametrize("name", ["source", "map", "generator"])
def test_an_error_that_a_generator_catches_is_not_lost(engine, name):
    stream = STREAMS[name]() | catches
    with pytest.raises(ValueError, match="item 3"):
        list(stream.iterate(engine=engine))
    assert list(stream.take(4).iterate(engine=engine)) == [0, 1, 2, -1]
    with pytest.raises(ValueError, match="item 3"):
        list((STREAMS[name]() | raises_another).iterate(engine=engine))


def test_too_many_errors_are_not_for_a_generator_to_catch(engine):
    with pytest.raises(ValueError, match="item 3"):
        list((numbers().map(bad, errors="skip", max_errors=2) | catches).iterate(engine=engine))
