"""A function is pickled again when its pickle would be another one."""

from __future__ import annotations

import functools
import gc
import inspect
import math
import operator
import sys
import types
import weakref

import cloudpickle
import numpy as np
import pytest

from pardata.pool.processes.fingerprint import fingerprint
from pardata.pool.processes.function_store import FunctionStore

SCRIPT = '''
import math
import os
import operator
import sys
from functools import reduce

factor, names, nested = 2, ("a", "b"), (1, (2, "c"))
table = [1]

def helper(x: int = 3) -> float:
    return math.sqrt(x) * factor

def top(x: "a number", *, scale=2.5):
    """Return much."""
    return [helper(x) for _ in names], nested, scale, reduce(operator.add, (1, 2))

def count(n):
    return count(n - 1) if n else 0

def in_list(x):
    return table[x]

def inner(x):
    return (lambda y: late)(x)

def make(a):
    def made(x):
        return a + x
    return made

class Own:
    pass

def of_class(x: Own):
    return x
'''


@pytest.fixture
def script():
    """The globals of a script that has been run."""
    names: dict[str, object] = {"__name__": "__main__", "__file__": "script.py"}
    exec(compile(SCRIPT, "script.py", "exec", dont_inherit=True), names)
    return names


@pytest.fixture
def encoded():
    """Codes that count what they encode."""
    made: list[object] = []

    class Code:
        payload = None

        def __init__(self, fn, what, copies):
            made.append(fn)
            captured = [cell.cell_contents for cell in fn.__closure__ or ()] if inspect.isfunction(fn) else []
            for array in captured:
                if isinstance(array, np.ndarray) and not array.dtype.hasobject and copies.find(array) is None:
                    copies.keep(array, array.copy())

    return FunctionStore(Code), made


@pytest.mark.parametrize("name", ["helper", "top", "count", "inner"])
def test_what_has_not_changed_is_encoded_once(script, encoded, name):
    codes, made = encoded
    fn = script[name]
    assert codes.get(fn) is codes.get(fn) and made == [fn]
    codes.clear()
    codes.get(fn)
    assert made == [fn, fn]


def _code(names):
    names["helper"].__code__ = names["count"].__code__


def _module(names):
    names["math"] = types.ModuleType("math")


CHANGES = {
    "a global": lambda names: names.update(factor=3),
    "of another type": lambda names: names.update(factor=2.0),
    "a tuple": lambda names: names.update(nested=(1, (2, "d"))),
    "a function that it calls": lambda names: names.update(helper=abs),
    "a global of that": lambda names: names.update(factor=None),
    "the code of that": _code,
    "a default": lambda names: setattr(names["helper"], "__defaults__", (4,)),
    "a keyword's default": lambda names: names["top"].__kwdefaults__.update(scale=1),
    "an annotation": lambda names: names["helper"].__annotations__.update(x=float),
    "an attribute": lambda names: setattr(names["top"], "unit", "m"),
    "its name": lambda names: setattr(names["top"], "__qualname__", "f"),
    "its text": lambda names: setattr(names["top"], "__doc__", "Return little."),
    "a module": _module,
    "the script's path": lambda names: names.update(__file__="other.py"),
    "something that was missing": lambda names: names.update(sqrt=1),
    "something that is gone": lambda names: names.pop("names"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_has_changed_is_encoded_again(script, encoded, what):
    codes, made = encoded
    names = script
    top = names["top"]
    codes.get(top)
    CHANGES[what](names)
    codes.get(top)
    assert made == [top, top]


def test_partial_is_encoded_once_until_its_parts_change(script, encoded):
    codes, made = encoded
    names = script
    partial = functools.partial(names["helper"], 3)
    outer = names["make"](functools.partial(names["helper"], x=4))
    for fn in (partial, outer):
        codes.get(fn)
        codes.get(fn)
        names["factor"] += 1
        codes.get(fn)
    assert made == [partial, partial, outer, outer]
    for args in ((abs,), (max,), (abs, 1), (abs, (1,)), (abs, 1, 2)):
        for named in ({}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}):
            before = len(made)
            partial.__setstate__((args[0], args[1:], named, None))
            codes.get(partial)
            codes.get(partial)
            assert len(made) == before + 1


small, other, large, larger = np.zeros(3), np.ones(3), np.zeros(9_000), np.ones(9_000)
SWAPS = [
    (None, small), (1, large), (small, other), (large, larger), (small, large), (None, (None,)), ("a", ("a", "b")),
    ((1,), 2), (1, ()), (list[int], (list, int)), (int | str, (int, str)), (np.float64(2), np.int64(2)), (abs, None),
    (True, 1), (math, None),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), SWAPS)
def test_what_has_changed_places_is_encoded_again(script, encoded, first, second):
    codes, made = encoded
    fn = script["make"](None)
    fn.__defaults__ = (first,)
    cell = fn.__closure__[0]
    cell.cell_contents = second
    codes.get(fn)
    codes.get(fn)
    fn.__defaults__, cell.cell_contents = (second,), first
    codes.get(fn)
    fn.__defaults__, cell.cell_contents = ((first, second),), None
    codes.get(fn)
    fn.__defaults__ = ((second, first),)
    codes.get(fn)
    assert len(made) >= 4  # at least: an array in a default has no copy here


def test_an_entry_that_moves_to_another_dictionary_is_seen(script, encoded):
    codes, made = encoded
    fn = script["make"](1)
    fn.__annotations__["note"] = 3
    codes.get(fn)
    fn.__dict__["note"] = fn.__annotations__.pop("note")
    codes.get(fn)
    assert len(made) == 2


def test_modules_that_were_registered_travel_by_value(encoded, monkeypatch):
    codes, made = encoded
    module = types.ModuleType("registered_here")
    exec("factor = 2\ndef f(): return factor", vars(module))
    monkeypatch.setitem(sys.modules, "registered_here", module)
    cloudpickle.register_pickle_by_value(module)
    try:
        codes.get(module.f)
        codes.get(module.f)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert len(made) == 2


def test_what_a_function_has_captured_counts(script, encoded):
    codes, made = encoded
    fn = script["make"](1)
    codes.get(fn)
    codes.get(fn)
    fn.__closure__[0].cell_contents = 2
    codes.get(fn)
    assert len(made) == 2


def test_a_global_that_a_function_within_uses_counts(script, encoded):
    codes, made = encoded
    names = script
    for value in (1, 2, 2):
        names["late"] = value
        codes.get(names["inner"])
    assert len(made) == 2


def test_what_may_change_inside_is_encoded_each_time(script, encoded):
    codes, made = encoded
    names = script
    with_attribute = functools.partial(names["helper"], 3)
    with_attribute.unit = "m"
    changeable = [
        names["in_list"],
        names["of_class"],
        *map(names["make"], ([], {}, bytearray(b"x"), names["Own"], names["Own"](), (1, []), [].append)),
        *map(names["make"], (np.array([None]), np.ma.zeros(3), np.rec.array([1]))),
        functools.partial(names["helper"], []),
        functools.partial(names["helper"], x=[]),
        functools.partial(names["Own"]),
        with_attribute,
        names["Own"]().__init__,
    ]
    for fn in changeable:
        assert fingerprint(fn) is None
        codes.get(fn)
        codes.get(fn)
    assert len(made) == 2 * len(changeable)


def _fill(array):
    array[...] = 3


def _set_last_bit(array):
    array.view(np.uint8).reshape(-1)[-1] ^= 1


def _reshape(array):
    array.resize(array.shape[::-1], refcheck=False)


@pytest.mark.parametrize("change", [_fill, _set_last_bit, _reshape])
@pytest.mark.parametrize("shape", [(2, 3), (2, 100_000), (7, 30_001)])
@pytest.mark.parametrize("dtype", ["f8", "u1", "f4,u1"])
def test_arrays_count_by_their_bytes(script, encoded, change, shape, dtype):
    codes, made = encoded
    array = np.zeros(shape, dtype)
    fn = script["make"](array)
    codes.get(fn)
    codes.get(fn)
    assert len(made) == 1
    change(array)
    codes.get(fn)
    codes.get(fn)
    assert len(made) == 2


def test_an_array_that_is_not_a_number_is_equal_to_itself(script, encoded):
    codes, made = encoded
    fn = script["make"](np.full(100_000, np.nan))
    codes.get(fn)
    codes.get(fn)
    assert len(made) == 1


def test_an_array_that_was_replaced_by_an_equal_one_is_another_one(script, encoded):
    codes, made = encoded
    fn = script["make"](np.zeros(100_000))
    codes.get(fn)
    fn.__closure__[0].cell_contents = np.zeros(100_000)
    codes.get(fn)
    assert len(made) == 2


def test_no_array_or_function_is_kept_alive(script, encoded):
    codes, _ = encoded
    array = np.zeros(100_000)
    gone = weakref.ref(array)
    made = script["make"](array)
    inner = script["make"](made)
    codes.get(made)
    codes.get(inner)
    del array, made, inner, _[:]
    gc.collect()
    assert gone() is None and not codes._seen


def test_with_an_array_its_copy_and_the_code_of_what_has_captured_it_go(script, encoded):
    codes, _ = encoded
    fn = script["make"](np.zeros(100_000))
    codes.get(fn)
    assert fn in codes._seen and codes.copies._kept
    fn.__closure__[0].cell_contents = None
    assert fn not in codes._seen and not codes.copies._kept


def test_large_strings_are_not_kept(script):
    assert fingerprint(script["make"]("x" * 1000)) is not None
    assert fingerprint(script["make"]("x" * 10_000)) is None


def test_functions_that_workers_import_are_encoded_once(encoded):
    codes, made = encoded
    assert codes.get(operator.index) is codes.get(operator.index)
    assert made == [operator.index]
