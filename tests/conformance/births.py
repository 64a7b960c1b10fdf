"""Functions whose results could be wrong if NumPy's memory became that of a message; each is called for several items.

Each returns an array of the numbers of its item, raised by one. `HELD` are those that can still write to what they have
returned, or may not give it away, or have moved it; a copy of it is sent. The memory of what the others return is
handed over.
"""

import asyncio
import ctypes
import functools
import importlib
import os
import threading
import weakref

import numpy as np

ENTRIES = 40_000  # float64: large enough to be handed over among others of a message, in the block it was born in


class Keeper:
    """Returns what it keeps, and fills that with other numbers at the next call."""

    kept = None

    def __call__(self, x):
        if self.kept is not None:
            self.spoil()
        made, self.kept = self.make(x + 1)
        return made

    def spoil(self):
        self.kept[...] = -1


class KeepsResult(Keeper):
    def make(self, made):
        return made, made


class KeepsTwice(Keeper):
    def make(self, made):
        return [made, {"again": made}], made


class KeepsBase(Keeper):
    def make(self, made):
        return made[:], made


class KeepsBaseOfFrozen(Keeper):
    def make(self, made):
        view = made[:]
        view.setflags(write=False)
        return view, made


class KeepsViewBetween(Keeper):
    def make(self, made):
        middle = made.reshape(10, -1)
        del made
        return middle.reshape(-1), middle


class KeepsOtherView(Keeper):
    def make(self, made):
        return made[:], made[5:]


class KeepsList(Keeper):
    def make(self, made):
        return made, [made]

    def spoil(self):
        self.kept[0][...] = -1


class KeepsMemoryview(Keeper):
    def make(self, made):
        return made, memoryview(made).cast("B")

    def spoil(self):
        self.kept[:] = b"\xff" * len(self.kept)


class KeepsPointer(Keeper):
    def make(self, made):
        return made, made.ctypes.data_as(ctypes.POINTER(ctypes.c_double))

    def spoil(self):
        self.kept[0] = -1


class KeepsReference(Keeper):
    def make(self, made):
        return made, weakref.ref(made)

    def spoil(self):
        made = self.kept()
        if made is not None:
            made[...] = -1


class KeepsReferenceToBase(KeepsReference):
    def make(self, made):
        return made[:], weakref.ref(made)


class KeepsWeakValues(Keeper):
    """A cache that is to let go of what nobody uses."""

    def make(self, made):
        cache = weakref.WeakValueDictionary()
        cache["last"] = made
        return made, cache

    def spoil(self):
        for made in self.kept.values():
            made[...] = -1


_new_array = None


def of_foreign_memory(x):
    """As the variables of a Fortran module: each array over them is new, and none of them owns the memory."""
    global _new_array
    if _new_array is None:
        _new_array = _make_new_array()
    _fortran[:] = x + 1
    return _new_array(np.ndarray, 1, (ctypes.c_ssize_t * 1)(ENTRIES), 12, None, _fortran.ctypes.data, 0, 0x501, None)


_fortran = np.zeros(ENTRIES)


def _make_new_array():
    """Return PyArray_New: the type, axes, shape, number of float64, strides, memory, item size, flags, parent."""
    core = importlib.import_module("numpy._core._multiarray_umath")
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(get(core._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    number, pointer = ctypes.c_int, ctypes.c_void_p
    types = [ctypes.py_object, number, pointer, number, pointer, pointer, number, number, pointer]
    return ctypes.PYFUNCTYPE(ctypes.py_object, *types)(table[93])


class KeepsGenerator(Keeper):
    def make(self, made):
        def fill():
            yield
            made[...] = -1
            yield

        filler = fill()
        next(filler)
        return made, filler

    def spoil(self):
        next(self.kept)


class KeepsThread(Keeper):
    def make(self, made):
        begin, end = threading.Event(), threading.Event()

        def fill(array):
            begin.wait(30)
            array[...] = -1
            end.set()

        threading.Thread(target=fill, args=(made,), daemon=True).start()
        return made, (begin, end)

    def spoil(self):
        begin, end = self.kept
        begin.set()
        assert end.wait(30)


class KeepsDict(Keeper):
    """The arrays in it are not bare."""

    def make(self, made):
        held = {"array": made}
        return held, held

    def spoil(self):
        self.kept["array"][...] = -1


class KeepsPartOfTuple(Keeper):
    def make(self, made):
        return (made, 1), made


class Subclass(np.ndarray):
    pass


def of_a_subclass(x):
    return (x + 1).view(Subclass)


def half_of_it(x):
    return np.concatenate([x + 1, x, x])[: len(x)]


@functools.lru_cache
def _cached():
    return np.zeros(ENTRIES)


def cached(x):
    held = _cached()
    held += 1 - held[0] + x[0]
    return held


def new(x):
    return x + 1


def view_of_new(x):
    return (x + 1).reshape(10, -1).T


def in_containers(x):
    return {"array": x + 1, "more": [(x + 1, "text"), 3]}


def twice(x):
    made = x + 1
    return [made, made]


def filled_zeros(x):
    junk = np.full(ENTRIES, 7.0)
    del junk
    made = np.zeros(ENTRIES)
    assert not made.any()
    made += x
    made += 1
    return made


def resized(x):
    made = x + 1
    made.resize(2 * ENTRIES, refcheck=False)
    assert not made[ENTRIES:].any()
    made.resize(ENTRIES, refcheck=False)
    small = x.copy()
    small.resize(3, refcheck=False)
    small.resize(ENTRIES, refcheck=False)
    assert not small[3:].any() and (small[:3] == x[0]).all()
    return made


def with_errors(x):
    """Arrays die while an exception propagates."""

    def first(array, _):
        return array

    for _ in range(20):
        try:
            first(x + 5, 1 / 0)
        except ZeroDivisionError:
            pass
        try:
            [x + 6, int("no")]
        except ValueError:
            pass
    return x + 1


def freed_by_threads(x):
    made = [x + 5 for _ in range(5)]
    threads = [threading.Thread(target=made.pop) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return x + 1


def made_by_thread(x):
    made = []
    thread = threading.Thread(target=lambda: made.append(x + 1))
    thread.start()
    thread.join()
    return made.pop()


def awaited(x):
    async def one():
        await asyncio.sleep(0)
        return x + 1

    async def both():
        return (await asyncio.gather(one(), one()))[0]

    return asyncio.run(both())


def forks(x):
    """Parent and child have arrays of their own, though each writes to them and makes new ones."""
    made, kept = x + 1, x + 100
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        made[...] = -7
        mine = x + 55
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0 if (kept == x[0] + 100).all() and (mine == x[0] + 55).all() else 1)
    os.read(ready[0], 1)
    kept[...] = 3
    del kept
    junk = [x - 1 for _ in range(5)]
    os.write(go[1], b"x")
    for end in (*ready, *go):
        os.close(end)
    _, status = os.waitpid(child, 0)
    del junk
    return made if status == 0 else made - status


HANDED = {
    "new": new,
    "a view of a new one": view_of_new,
    "in containers": in_containers,
    "zeros": filled_zeros,
    "errors in flight": with_errors,
    "freed by threads": freed_by_threads,
    "awaited": awaited,
    "twice": twice,
}
HELD = {
    "kept": KeepsResult(),
    "base kept": KeepsBase(),
    "base of a frozen view kept": KeepsBaseOfFrozen(),
    "view between kept": KeepsViewBetween(),
    "other view kept": KeepsOtherView(),
    "list kept": KeepsList(),
    "memoryview kept": KeepsMemoryview(),
    "pointer kept": KeepsPointer(),
    "weak reference kept": KeepsReference(),
    "weak reference to base kept": KeepsReferenceToBase(),
    "kept by a dict of weak values": KeepsWeakValues(),
    "foreign memory": of_foreign_memory,
    "kept by a generator": KeepsGenerator(),
    "kept by a thread": KeepsThread(),
    "dict kept": KeepsDict(),
    "part of a tuple kept": KeepsPartOfTuple(),
    "twice, and kept": KeepsTwice(),
    "subclass": of_a_subclass,
    "part of a larger one": half_of_it,
    "cached": cached,
    "resized": resized,
    "made by a thread": made_by_thread,
    "forks": forks,  # the last: no array of its worker is born in a block afterwards
}
ALL = HANDED | HELD


def arrays_in(item):
    """All arrays of a result, in lists, tuples and dicts."""
    if isinstance(item, dict):
        return arrays_in(list(item.values()))
    if isinstance(item, list | tuple):
        return [array for part in item for array in arrays_in(part)]
    return [item] if isinstance(item, np.ndarray) else []
