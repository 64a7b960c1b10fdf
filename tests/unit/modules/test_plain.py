"""Which values are nothing but their contents."""

import argparse
import dataclasses
import enum
import pathlib
import threading
import types

import numpy as np
import pytest

from pardata.modules.plain import is_equal, is_plain, is_record, is_simple, plain_contents


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Options:
    rate: float = 1.0


class Passive:
    def __init__(self, x):
        self.x = x


class Active(Passive):
    def __del__(self):
        pass


loop: list = []
loop.append(loop)


@pytest.mark.parametrize("value", [None, True, 1, 1.5, 2j, "a", b"a", ..., range(3), pathlib.Path("a"), Color.RED])
def test_simple(value):
    assert is_simple(value)
    assert is_plain(value)
    assert is_equal(value, value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, "a", (None, {2.5})], True),
        ({"a": {"b": [Color.RED]}}, True),
        (frozenset({1}), True),
        (types.SimpleNamespace(a=[1]), True),
        (argparse.Namespace(a=argparse.Namespace(b=1)), True),
        ([object()], False),
        ({"a": np.zeros(1)}, False),
        (threading.Lock(), False),
        (Passive(1), False),
        (list(range(2000)), False),
        ([[1] * 500, [1] * 500, [1] * 500], False),
        (loop, False),
        (len, False),
        (Color, False),
    ],
)
def test_plain(value, expected):
    assert is_plain(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Passive(1), True),
        (Passive([1, {"a": 2}]), True),
        (Options(), True),
        (Passive(Passive(1)), False),
        (Passive(threading.Lock()), False),
        (Active(1), False),
        (Passive, False),
        (lambda: 1, False),
        (threading.Thread(), False),
    ],
)
def test_records(value, expected):
    assert is_record(value) is expected


def test_equal():
    assert is_equal(Passive([1]), Passive([1]))
    assert not is_equal(Passive([1]), Passive([2]))
    assert is_equal({"a": 1}, {"a": 1})
    assert not is_equal(1, True)
    assert not is_equal(np.zeros(2), np.zeros(2))  # only what is plain is compared
    assert plain_contents(Passive(1)) == {"x": 1}
