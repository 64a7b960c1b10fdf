"""What a generator fills again after it has yielded it arrives as it was, or is refused: on every engine."""

import threading

import numpy as np
import pytest

import pardata

ENGINES = ["serial", "threads", "processes"]
COUNT = 20


class Record:
    """Holds a number."""

    number = 0


class Handle(Record):
    """Cannot be pickled."""

    def __init__(self):
        self.lock = threading.Lock()


def numbered(obj, fill, hand=lambda obj: obj):
    """Yield one object again and again."""
    for number in range(COUNT):
        fill(obj, number)
        yield hand(obj)


def set_first(obj, number):
    obj[0] = number


def set_number(obj, number):
    obj.number = number


def frozen(array, number):
    array.setflags(write=True)
    array[0] = number
    array.setflags(write=False)


REUSED = {
    "an array that is frozen": lambda: numbered(np.zeros(3000), frozen),
    "a tuple with an array that is frozen": lambda: numbered(np.zeros(3000), frozen, lambda array: (array, 0)),
    "a view of an array that is frozen": lambda: numbered(np.zeros(3000), frozen, lambda array: array[:2900]),
    "an array": lambda: numbered(np.zeros(3), set_first),
    "a large array": lambda: numbered(np.zeros(3000), set_first),
    "a view of an array": lambda: numbered(np.zeros((2, 3)), lambda a, n: a.__setitem__((0, 0), n), lambda a: a[0]),
    "a list": lambda: numbered([0, 1], set_first),
    "a list of arrays": lambda: numbered([np.zeros(3)], lambda a, n: set_first(a[0], n), lambda a: a),
    "a masked array": lambda: numbered(np.ma.zeros(3), set_first),
    "a bytearray": lambda: numbered(bytearray(3), set_first),
    "a memoryview": lambda: numbered(bytearray(3), set_first, memoryview),
    "an object": lambda: numbered(Record(), set_number),
}


def number_of(item):
    item = getattr(item, "number", item)
    while not isinstance(item, int | float):
        item = item[0]
    return float(item)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("as_function", [True, False], ids=["generator function", "generator"])
@pytest.mark.parametrize("kind", REUSED)
def test_what_is_filled_again_arrives_as_it_was(kind, engine, as_function):
    made = REUSED[kind]
    source = pardata.source((lambda: (yield from made())) if as_function else made())
    assert list(source.map(number_of).iterate(engine=engine)) == list(range(COUNT))


def in_turn():
    """Yield two objects in turn, as a reader does that prepares the next one."""
    one, other = Handle(), Handle()
    for number in range(COUNT):
        one.number = number
        yield one
        one, other = other, one


UNPICKLABLE = {"one object": lambda: numbered(Handle(), set_number), "two in turn": in_turn}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", UNPICKLABLE)
@pytest.mark.parametrize("where", ["source", "filter"])
def test_what_cannot_be_pickled_and_is_filled_again_is_refused(kind, engine, where):
    made = UNPICKLABLE[kind]

    def filtered(items):
        for _ in items:
            yield from made()

    stream = pardata.source(made(), name="here") if where == "source" else pardata.source([0]) | filtered
    with pytest.raises(pardata.SerializationError, match=r"cannot be (pickled|sent on)"):
        list(stream.map(number_of).iterate(engine=engine))


@pytest.mark.parametrize("engine", ["serial", "threads"])
def test_what_cannot_be_pickled_is_handed_on_itself(engine):
    handles, lock = [Handle() for _ in range(COUNT)], threading.Lock()
    buffer = np.zeros(3)

    def with_lock():
        for number in range(COUNT):
            buffer[0] = number
            yield buffer, {"lock": lock}

    assert list(pardata.source(iter(handles)).map(id).iterate(engine=engine)) == list(map(id, handles))
    assert list(pardata.source(handles[:1] * 3).map(id).iterate(engine=engine)) == [id(handles[0])] * 3
    pairs = pardata.source(with_lock).map(lambda pair: (pair[0][0], pair[1]["lock"] is lock))
    assert list(pairs.iterate(engine=engine)) == [(number, True) for number in range(COUNT)]
