"""What the tests of the engines send and run. Imports nothing heavy: the workers import it too."""

import collections
import dataclasses
import os

import numpy as np


def count_up():
    yield from range(100)


def count_to(limit):
    yield from range(limit)


def yield_nothing():
    return
    yield


class Countdown:
    """Neither list nor generator: an iterator of its own."""

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return self

    def __next__(self):
        if not self.count:
            raise StopIteration
        self.count -= 1
        return self.count

    def up(self):
        yield from range(self.count)


SMALL, LARGE = 100, 25_000  # float64: 800 bytes travel in the message, 200 kB in a block


@dataclasses.dataclass
class Frame:
    """Stands for a user's own class."""

    number: int
    pixels: np.ndarray


Point = collections.namedtuple("Point", "x y")


def values(size):
    return np.random.default_rng(size).random(size)


PAYLOADS = {
    "small": lambda: values(SMALL),
    "large": lambda: values(LARGE),
    "small Fortran": lambda: np.asfortranarray(values(SMALL).reshape(10, 10)),
    "large Fortran": lambda: np.asfortranarray(values(LARGE).reshape(250, 100)),
    "every second": lambda: values(2 * LARGE)[::2],
    "reversed": lambda: values(LARGE)[::-1],
    "transposed": lambda: values(LARGE).reshape(10, 25, 100).transpose(1, 0, 2),
    "broadcast": lambda: np.broadcast_to(values(SMALL), (250, SMALL)),
    "read-only": lambda: np.frombuffer(values(LARGE).tobytes()),
    "structured": lambda: np.array([(1, 2.5, "ab"), (2, 3.5, "c")] * 2000, [("n", "i4"), ("x", "f8"), ("s", "U3")]),
    "one record": lambda: np.array([(1, 2.5)], [("n", "i4"), ("x", "f8")]),
    "text": lambda: np.array(["alpha", "", "ümlaut"] * 3000),
    "bytes array": lambda: np.array([b"a", b"bc\x00d"] * 5000),
    "times": lambda: np.arange("2024-01", "2024-03", dtype="datetime64[D]"),
    "big-endian": lambda: values(LARGE).astype(">f8"),
    "bool": lambda: values(SMALL) > 0.5,
    "complex": lambda: values(LARGE) * 1j,
    "0-d": lambda: np.array(2.5),
    "zero-size": lambda: np.empty((3, 0, 2), np.float32),
    "objects": lambda: np.array([1, "a", None], object),
    "scalar": lambda: np.float32(1.5),
    "record scalar": lambda: np.array([(1, 2.5)], [("n", "i4"), ("x", "f8")])[0],
    "dict": lambda: {"small": values(SMALL), "large": values(LARGE), "name": "x"},
    "list": lambda: [values(LARGE), [values(SMALL), None], ()],
    "dataclass": lambda: Frame(3, values(LARGE)),
    "named tuple": lambda: Point(values(SMALL), values(LARGE)),
    "one array twice": lambda: (lambda array: [array, array[10:]])(values(LARGE)),
    "bytes": lambda: b"\x00abc" * 100_000,
    "str": lambda: "aü\x00" * 50_000,
    "many numbers": lambda: list(range(5_000)),
    "set": lambda: {1, 2, (3, "a")},
    "None": lambda: None,
}


WRAPPINGS = {
    "array": lambda x: x,
    "dict": lambda x: {"a": x, "b": [x]},
    "tuple": lambda x: (x, 1),
}


def writable(item):
    """Whether any array in an item can be written."""
    if isinstance(item, np.ndarray):
        return item.flags.writeable
    if isinstance(item, dict):
        item = list(item.values())
    return any(map(writable, item)) if isinstance(item, list | tuple) else False


def plain(value):
    """What can be compared with ``==``: arrays as their type, shape and contents."""
    if isinstance(value, np.ndarray):
        return "array", repr(value.dtype), value.shape, value.tolist()
    if isinstance(value, list | tuple):
        return type(value).__name__, [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if dataclasses.is_dataclass(value):
        return type(value).__name__, plain(vars(value))
    return value


class SensorError(Exception):
    """A user's own error, with state."""

    def __init__(self, message, code):
        super().__init__(message, code)
        self.code = code


def failing(at):
    def fail(x):
        if x == at:
            raise SensorError("no signal", 7)
        return x

    return fail


def raise_at_three():
    yield from range(3)
    raise SensorError("no signal", 7)


def pipe_fails(items):
    for item in items:
        if item == 3:
            raise SensorError("no signal", 7)
        yield item


def overtaken(fifo):
    """A function for a farm of two workers, with a chunksize of 1: item 0 is finished after item 1 has been sent on."""
    held = []

    def wait(x):
        if x == 0:
            with open(fifo) as file:  # until item 1 has begun
                file.read()  # until its worker has gone on to its next item
        elif x == 1:
            held.append(os.open(fifo, os.O_WRONLY))
        elif held:
            os.close(held.pop())
        return x

    return wait
