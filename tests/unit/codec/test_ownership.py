"""Who holds an object is counted; where the interpreter counts otherwise than it must, nothing is solely owned."""

import functools
import itertools
import sys
import types
import weakref

import numpy as np
import pytest

from pardata.codec import ownership
from pardata.codec.access import Access
from pardata.codec.ownership import is_held_by, is_owned_with, is_sole_owner, is_sole_owner_of_base, is_sole_view
from pardata.memory.array import anchor, view
from pardata.runtime.isolation import isolate

COUNTS = not ownership._may_differ_later()
counts = pytest.mark.skipif(not COUNTS, reason="a free-threaded build or a compiler: nothing is solely owned")
N = 5000


def owner():
    return np.ones(N)


def yielded():
    def generator():
        local = owner()
        yield local

    return next(generator())


def popped():
    others = [owner()]
    return others.pop()


def changed():
    made = owner()
    made += 1
    other = made
    del made
    return other


MAKERS = [owner, yielded, popped, changed]


@counts
@pytest.mark.parametrize("make", MAKERS)
def test_element_that_only_its_list_holds(make):
    for _ in range(100):  # also when the interpreter has specialized the functions
        items = [make(), make(), make()]
        assert all(is_sole_owner(items, index) for index in range(3))
        assert is_sole_owner(items)


@counts
@pytest.mark.parametrize("make", MAKERS)
def test_base_that_only_its_view_holds(make):
    for _ in range(100):
        seen = make()[5:]
        assert is_sole_owner_of_base(seen)


# -- whatever else holds it --------------------------------------------------------------------------------------------


def in_argument(held, ask):
    return ask()


def in_variable(held, ask):
    other = held
    del held
    found = ask()
    del other
    return found


def in_caller(held, ask):
    def asks():
        return ask()

    kept = held
    del held
    found = asks()
    del kept
    return found


def as_loop_variable(held, ask):
    items = [held]
    del held
    for _kept in items:
        items.clear()
        return ask()


def lent_twice(held, ask):
    def borrows(lent, ask):
        return in_argument(lent, ask)

    return borrows(held, ask)


def as_arguments(held, ask):
    def takes(*args, **kwargs):
        return ask()

    found = (takes(held), takes(x=held))
    return found[0] or found[1]


def as_default(held, ask):
    def asks(kept=held):
        return ask()

    del held
    return asks()


def in_generator(held, ask):
    def generator(argument):
        yield

    def keeps(items):
        local = items.pop()
        yield
        del local

    items = [held]
    suspended = generator(held), keeps(items)
    del held
    for each in suspended:
        next(each)
    return ask()


def in_coroutine(held, ask):
    @types.coroutine
    def pause():
        yield

    async def keeps(argument):
        await pause()

    coroutine = keeps(held)
    coroutine.send(None)
    del held
    try:
        return ask()
    finally:
        coroutine.close()


def in_comprehension(held, ask):
    items = [held]
    del held
    return any([ask() for kept in [items.pop()]])


HOLDERS = {
    "weak reference": weakref.ref,
    "weak dict": lambda held: weakref.WeakValueDictionary(held=held),
    "an attribute": lambda held: types.SimpleNamespace(held=held),
    "a list": lambda held: [held],
    "a tuple": lambda held: (held,),
    "a dictionary": lambda held: {"k": held},
    "a set of ids": lambda held: [{id(held): held}],
    "a closure": lambda held: lambda: held,
    "a partial": lambda held: functools.partial(print, held),
    "a bound method": lambda held: held.sum,
    "an iterator": lambda held: iter(held),
    "a view": lambda held: held[:],
    "a transposed view": lambda held: held.T.T,
    "a memoryview": lambda held: memoryview(held),
    "another memory of it": lambda held: np.frombuffer(memoryview(held)),
    "its flat iterator": lambda held: held.flat,
    "its flags": lambda held: held.flags,
}
FRAMES = [
    in_argument, in_variable, in_caller, as_loop_variable, lent_twice, as_arguments, as_default, in_generator,
    in_coroutine, in_comprehension,
]  # fmt: skip


@pytest.mark.parametrize("frame", FRAMES)
def test_element_in_a_variable_of_somebody_is_not_solely_owned(frame):
    for _ in range(100):
        items = [owner()]
        assert not frame(items[0], lambda items=items: is_sole_owner(items))
        assert not frame(items[0], lambda items=items: is_owned_with(None, items, 0))


@pytest.mark.parametrize("frame", FRAMES)
def test_base_in_a_variable_of_somebody_is_not_solely_owned(frame):
    for _ in range(100):
        seen = owner()[5:]
        assert not frame(seen.base, lambda seen=seen: is_sole_owner_of_base(seen))


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_object_that_something_holds_is_not_solely_owned(hold):
    items, seen = [owner()], owner()[5:]
    holders = hold(items[0]), hold(seen.base)
    assert not is_sole_owner(items) and not is_held_by(items, 0, 0)
    assert not is_sole_owner_of_base(seen)
    del holders
    assert is_sole_owner(items) is COUNTS
    assert is_sole_owner_of_base(seen) is COUNTS


# -- blocks ------------------------------------------------------------------------------------------------------------


def new_block(segment):
    return anchor(segment.map, 1 << 30, 8 * N, [], None)


@counts
def test_view_of_views_of_a_block(segment):
    block = new_block(segment)
    array = view(block, 0, "f8", (N,), None)
    array = array[5:].view("i8")[2:].T
    assert is_sole_view(array, 1)  # the variable here
    del block
    assert not is_sole_view(array, 1)


def test_view_of_a_block_of_which_somebody_holds_more(segment):
    block = new_block(segment)
    whole = view(block, 0, "f8", (N,), None)
    part = whole[5:]
    assert not is_sole_view(part, 1)
    del whole
    assert is_sole_view(part, 1) is COUNTS
    other = view(block, 0, "f8", (N,), None)
    assert not is_sole_view(part, 1)
    del other
    derived = block[8:]
    assert not is_sole_view(part, 1)
    assert not is_sole_view(np.frombuffer(derived, "f8", 4), 1)


# -- the variable of a generator that has yielded it -------------------------------------------------------------------


@counts
def test_variable_from_which_a_generator_has_yielded():
    def generator(argument):
        local = owner()
        yield local
        del local
        yield argument

    for _ in range(100):
        suspended = generator(owner())
        for _ in range(2):
            items = [next(suspended)]
            assert not is_sole_owner(items)
            assert is_owned_with(suspended, items, 0)
            for hold in (lambda held: [held], weakref.ref):
                kept = hold(items[0])
                assert not is_owned_with(suspended, items, 0)
                del kept
        assert not is_owned_with(generator(None), items, 0)


def test_generator_that_has_two_variables_or_a_list():
    def two():
        local = other = owner()
        yield local
        del other

    def a_list():
        items = [owner()]
        yield items[0]

    for suspended in (two(), a_list()):
        items = [next(suspended)]
        assert not is_owned_with(suspended, items, 0)


# -- an interpreter that counts otherwise ------------------------------------------------------------------------------

COUNT = sys.getrefcount
CALLS = itertools.count()
WRONG = {
    "the same for all": lambda held: 2,
    "never more than a sole owner": lambda held: min(COUNT(held), 2),
    "every time another": lambda held: COUNT(held) + next(CALLS),
    "deferred": lambda held: 1 << 30,
    "one too many": lambda held: COUNT(held) + 1,
    "a part of them": lambda held: COUNT(held) // 4,
}


@pytest.mark.parametrize("count", WRONG.values(), ids=WRONG)
def test_interpreter_that_does_not_tell_owners_apart_is_not_asked(monkeypatch, count):
    monkeypatch.setattr(sys, "getrefcount", count)
    assert ownership.measure() == (0, 0, 0)


def test_interpreter_without_counts_is_not_asked(monkeypatch):
    monkeypatch.delattr(sys, "getrefcount")
    assert ownership.measure() == (0, 0, 0)


def test_build_without_the_lock_is_not_asked(monkeypatch):
    monkeypatch.setattr(sys, "version", "3.14.0 free-threading build (main)")
    assert ownership.measure() == (0, 0, 0)


def test_compiled_code_is_not_asked(monkeypatch):
    monkeypatch.setattr(sys, "_jit", types.SimpleNamespace(is_enabled=lambda: True), raising=False)
    assert ownership.measure() == (0, 0, 0)


@counts
@pytest.mark.parametrize(("shape", "left"), [("_count_element", (0, 2, 0)), ("_count_base", (2, 0, 1))])
def test_only_the_shape_that_is_wrong_is_off(monkeypatch, shape, left):
    monkeypatch.setattr(ownership, shape, lambda *args: 2)
    assert ownership.measure() == left


@counts
def test_generator_whose_variable_is_not_counted_is_not_asked(monkeypatch):
    def yields_and_forgets():
        yield owner()

    monkeypatch.setattr(ownership, "_yields_variable", yields_and_forgets)
    assert ownership.measure() == (2, 2, 0)


def test_interpreter_as_it_is_tells_owners_apart():
    assert ownership.sole == ownership.measure() == ((2, 2, 1) if COUNTS else (0, 0, 0))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("make", [owner, lambda: owner()[5:]])
def test_array_is_copied_where_that_cannot_be_told(monkeypatch, make, inplace):
    monkeypatch.setattr(ownership, "sole", ownership.Sole(0, 0, 0))
    items = [make()]
    before = items[0].__array_interface__["data"][0]
    (handed,), _ = isolate(items, Access(inplace))
    assert handed.__array_interface__["data"][0] != before
    assert handed.flags.writeable == inplace and (handed == 1).all()
