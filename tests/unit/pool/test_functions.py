"""The functions that a worker keeps: one with a large state is decoded once, however many calls have works for it."""

import functools
import os

import numpy as np
import pytest

from pardata.codec import main_globals
from pardata.memory.shared_heap import shared_heap
from pardata.pool.arrays.work import Work
from pardata.pool.processes.function_store import Code, describe_function
from pardata.pool.worker import functions as functions_module
from pardata.pool.worker.functions import Functions
from pardata.pool.worker.messages import CodeAddress
from pardata.runtime.captured_arrays import CapturedArrays


class Encoder:
    """What a pool does; it keeps the codes."""

    def __init__(self):
        self._copies = CapturedArrays()
        self._codes = []

    def __call__(self, obj):
        self._codes.append(Code(obj, "it", self._copies))
        return self._codes[-1].address

    def work(self, fn):
        return self(Work(tuple(fn), (shared_address(),), "map"))


class shared_address:
    def open(self, segment):
        return np.zeros(3)


def looking_up(table):
    return lambda x: table[x]


@pytest.fixture
def functions(monkeypatch):
    monkeypatch.setattr(functions_module, "_MOST_OWN_BYTES", 1000)
    monkeypatch.setattr(functions_module, "_MOST_KEPT", 4)
    monkeypatch.setattr(main_globals, "_script", main_globals.Script(os.getpid()))
    return Functions(shared_heap().segment)


def test_the_works_of_many_calls_share_a_function_with_a_large_state(functions):
    encode = Encoder()
    fn = encode(looking_up(np.arange(10_000)))
    made = functions.get(CodeAddress(*encode.work(fn))).work.fn
    for _ in range(6):
        assert functions.get(CodeAddress(*encode.work(fn))).work.fn is made
    assert functions.get(fn) is made


def test_a_large_state_is_let_go_of_with_its_works_when_another_function_comes(functions):
    encode = Encoder()
    first, second = (encode(looking_up(np.arange(10_000) + i)) for i in range(2))
    work = CodeAddress(*encode.work(first))
    opened = functions.get(work)
    functions.get(second)
    assert functions.get(work) is not opened
    assert functions.get(work).work.fn is functions.get(first)


def test_no_more_than_so_many_are_kept(functions):
    encode = Encoder()
    codes = [encode(looking_up(i)) for i in range(6)]
    made = [functions.get(code) for code in codes]
    assert [functions.get(code) is each for code, each in zip(codes[:1:-1], made[:1:-1], strict=True)] == [True] * 4
    assert functions.get(codes[0]) is not made[0]


def test_a_partial_is_described_without_what_it_has_captured():
    class Large:
        def __repr__(self):
            raise AssertionError("this takes a second")

        def __call__(self):
            pass

    assert describe_function(functools.partial(abs, Large())) == "a partial of the function 'abs'"
    assert describe_function(Large()) == "the function 'Large'"
