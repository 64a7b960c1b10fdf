"""What the stages of random graphs do. Imports nothing heavy: every worker that starts imports it.

An item is (tag, value); a value is a number, or an array of a block's size that has this number in every entry.
"""

import asyncio
import itertools
import random

import numpy as np

import pardata

ENTRIES = 3000  # of an array: more than what travels inside of a message


def number_of(value):
    """The number that a value stands for. An array that is damaged stands for none."""
    if isinstance(value, np.ndarray):
        assert value.size == ENTRIES and np.all(value == value[0]), "the array is damaged"
        return int(value[0])
    return value


def mapping(factor):
    return lambda item: (item[0], (item[1] * factor + 1) % 1009)


def drawing(factor):
    """A mapping that adds a random number, the same for an item in every run with one seed."""
    return lambda item: (item[0], (item[1] * factor + pardata.worker().random.integers(1009)) % 1009)


def awaiting(factor):
    async def call(item):
        for _ in range(number_of(item[1]) % 4):  # calls return in another order than they began in
            await asyncio.sleep(0)
        return item[0], (item[1] * factor + 1) % 1009

    return call


def keeping(modulus):
    return lambda item: number_of(item[1]) % modulus != 1


def failing(modulus):
    def fail(item):
        if number_of(item[1]) % modulus == 1:
            raise ArithmeticError(f"{number_of(item[1])} is refused")
        return item

    return fail


def failing_alone(modulus):
    def fail(number):
        if number % modulus == 1:
            raise ArithmeticError(f"{number} is refused")
        return number

    return fail


def adding_to(pair):
    (tag, value), number = pair
    return tag, (value + number) % 1009


def counted(count, item):
    return item[0], (item[1] + count) % 1009


def tagging(tag):
    return lambda item: (f"{item[0]} {tag}", item[1])


def joining():
    def join(pair):
        (tag, first), (other, second) = pair
        assert tag == other
        return tag, (first * 31 + second) % 1009

    return join


def repeating(modulus):
    return lambda item: [(item[0], item[1] + k) for k in range(number_of(item[1]) % modulus)]


def twice(item):
    tag, value = item
    yield tag, value
    yield tag, value + 1


def doubling():
    def double(items):
        for tag, value in items:
            yield tag, value
            if number_of(value) % 2:
                yield tag, value + 1

    return double


def summing():
    def running_total(items):
        totals: dict[str, int] = {}
        for tag, value in items:
            totals[tag] = totals.get(tag, 0) + value
            yield tag, totals[tag] % 1009

    return running_total


class Totals:
    """As `summing`, of which a successor can go on: a running total per tag; `draws`: with a random number added."""

    def __init__(self, draws=False):
        self.totals = {}
        self.draws = draws

    def __call__(self, items):
        for tag, value in items:
            more = int(pardata.worker().random.integers(1009)) if self.draws else 0
            self.totals[tag] = self.totals.get(tag, 0) + number_of(value) + more
            yield tag, self.totals[tag] % 1009

    def snapshot(self):
        return self.totals

    def restore(self, state):
        self.totals = state


def total_of(items):
    """A list of items becomes one."""
    return items[0][0], sum(number_of(value) for _, value in items) % 1009


def adding(total, item):
    return total[0], (total[1] + number_of(item[1])) % 1009


def anywhere(item):
    """A key that is another one whenever it is asked for."""
    return random.randrange(1009)


def taking(count):
    return lambda items: itertools.islice(items, count)


def value_of(number, is_array):
    return np.full(ENTRIES, number) if is_array else number
