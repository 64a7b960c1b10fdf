"""Streams of arrays that a memory limit slows down. Imports nothing heavy: every worker that starts imports it."""

import os
import select

import numpy as np

import pardata

ARRAY_BYTES = 4 << 20  # what one array takes: 2.4 MB in whole huge pages
SHAPE = 300_000


def make(number):
    return np.full(SHAPE, number)


def make_in_place(number):
    array = pardata.empty(SHAPE, int)
    array[:] = number
    return array


def first(array):
    return int(array[0])


def add_one(array):
    return array + 1


def chain(count):
    return pardata.source(range(count)).map(make).map(add_one).map(first)


def farms_out_of_order(count):
    made = pardata.source(range(count)).map(make_in_place, workers=3, ordered=False)
    return made.map(add_one, workers=2, ordered=False).map(first)


def unequal_branches(count):
    made = pardata.source(range(count)).map(make)
    pairs = pardata.zip(made.map(add_one).map(add_one), made)
    return pairs.map(lambda pair: first(pair[0]) - 1)


def several_of_each(count):
    made = pardata.source(range(count // 4)).flat_map(lambda number: [make(4 * number + place) for place in range(4)])
    return made.map(add_one).map(first)


def threads(count):
    return pardata.source(range(count)).map(make, workers=3, kind="thread").map(add_one).map(first)


class MakeAfterTheOther:
    """Two items for two workers: the second makes its array when the first, whose array was let go, has ended."""

    def __init__(self, folder):
        self.both, self.gone = f"{folder}/both", f"{folder}/gone"
        os.mkfifo(self.both)
        os.mkfifo(self.gone)

    def __call__(self, number):
        if number == 0:
            open(self.both).close()
            return np.full(SHAPE, os.getpid())
        open(self.both, "w").close()
        with open(self.gone) as pipe:
            other = int(pipe.read())
        try:
            select.select([os.pidfd_open(other)], [], [])
        except ProcessLookupError:
            pass  # it has been reaped already
        return make(number)
