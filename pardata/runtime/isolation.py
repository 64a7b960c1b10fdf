"""Passes items from one stage to the next within a process, as a channel does between two processes.

Every reader has objects of its own. So no other stage sees its changes, and a generator may fill a buffer again that it
has yielded. The rule of `codec.access` says which arrays are its own as well, and which are read-only and share one
memory. An array is not copied if no one else can write to it: it has just been made, or came from another stage.
"""

from __future__ import annotations

import io
import mmap
import pickle
import types
from typing import Any, Final

import numpy as np

from pardata.codec.access import IMMUTABLE as IMMUTABLE
from pardata.codec.access import Access, bare_arrays
from pardata.codec.array_form import reduce_subclass
from pardata.codec.by_value import INLINE_BYTES
from pardata.codec.ownership import is_sole_owner, is_sole_owner_of_base
from pardata.memory.array import Anchor
from pardata.memory.layout import copy, held_bytes, is_overlapping
from pardata.memory.mapped import is_mapped
from pardata.memory.shared_array import is_array
from pardata.runtime.passed import Passed
from pardata.runtime.plain_copy import CONTAINERS, SIMPLE, OtherError, Own, PlainCopy, is_taken

Array = np.ndarray[Any, Any]

_BY_REFERENCE: Final = (type, types.FunctionType, types.ModuleType)
_UNTAKEN: Final = SIMPLE.union(CONTAINERS)  # most of what is in an item


def _is_alone(box: list[Any]) -> bool:
    """Return whether `box` has the only reference to its array and to the memory: a function has just made it."""
    if not is_sole_owner(box):
        return False
    array: Any = box[-1]
    if array.base is None:
        return bool(array.flags.owndata)
    while is_sole_owner_of_base(array) and not _is_bottom(array.base):
        array = array.base
        if not is_array(array):
            return False
    return is_sole_owner_of_base(array)


def _is_bottom(base: Any) -> bool:
    """Return whether the base of an array owns its memory, is a block, or the seal of an array that nobody else had."""
    return isinstance(base, np.ndarray) and (base.flags.owndata or type(base) in _SEALS)


class _Seal(np.ndarray[Any, Any]):
    """Stands between a reader's array and memory that nobody else has had, as a block's anchor does between processes.

    Two of them, as NumPy would leave out a single one between two arrays of the same type.
    """


_SEALS: Final = (Anchor, _Seal)


def _is_sealed(array: Any) -> bool:
    """Return whether the memory of an array is read-only through every reference to it, for good.

    The bytes of a block themselves are never given to anybody: a received array is sealed. One that its maker has
    frozen is not: the maker may have it writable again.
    """
    while isinstance(array, np.ndarray):
        if type(array) in _SEALS:
            return True
        if array.flags.writeable:
            return False
        array = array.base
    if type(array) is mmap.mmap:  # of a file: the one that was opened for reading
        return memoryview(array).readonly
    return type(array) is bytes


def _given(array: Array, writable: bool) -> Array:
    """Return an array, which nobody else has, for its reader alone to write to, or for all to read."""
    if not writable:
        if type(array.base) not in _SEALS:
            array = array.view(_Seal).view(_Seal).view(np.ndarray)
        array.setflags(write=False)
        return array
    parts = [array]
    while isinstance(parts[-1].base, np.ndarray):
        parts.append(parts[-1].base)
    for part in reversed(parts):  # the base first: where that is read-only, no view is made writable
        part.setflags(write=True)
    return array


def _handed(access: Access) -> Own:
    """Return the rule for a reader with this access."""

    def own(box: list[Any], is_held: bool) -> Array:
        array: Array = box[0]
        is_private = is_held or (array.nbytes if array.flags.c_contiguous else held_bytes(array)) < INLINE_BYTES
        del array  # references to it are counted
        if not _is_alone(box):
            is_copied = access is Access.INPLACE or (is_private and not is_mapped(box[0]))
            if is_copied or not _is_sealed(box[0]):
                box[0] = copy(box[0])
            else:  # others may read it: no seal of its own, which is for memory that nobody else has had
                return box.pop()  # type: ignore[no-any-return]
        array = box.pop()
        return _given(array, (access is not Access.READ or is_private) and not is_overlapping(array))

    return own


_RULES: Final[dict[Access, Own]] = {access: _handed(access) for access in Access}


class _Pickler(pickle.Pickler):
    """Takes arrays, functions, classes and modules out of the stream; an array that is met again is one."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 5)
        self.taken: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._plain: dict[int, set[int]] = {}  # as `bare_arrays` has it
        self._has_objects = False

    def persistent_id(self, obj: Any) -> int | None:
        if type(obj) in _UNTAKEN:
            return None
        if is_taken(obj):
            known = self._numbers.get(id(obj))
            if known is not None:
                return known
            self._numbers[id(obj)] = len(self.taken)
            self.taken.append(obj)
        elif isinstance(obj, _BY_REFERENCE):
            self.taken.append(obj)
        else:
            return None
        return len(self.taken) - 1

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray):
            reduced = reduce_subclass(obj)
            if reduced is not NotImplemented:
                self._plain[id(obj)] = {id(part) for part in reduced[1] if type(part) is np.ndarray}
            return reduced
        self._has_objects = True
        return (bytes, (obj.tobytes(),)) if type(obj) is memoryview else NotImplemented  # as between processes

    def hand_over(self, item: Any, own: Own) -> int:
        """Replace the arrays that were taken out of `item` by those of its reader; return their bytes."""
        places = list(self._numbers.values())
        bare = bare_arrays(item, self._plain) if self._has_objects and places else None
        held = [bare is not None and id(self.taken[place]) not in bare for place in places]
        for place, is_held in zip(places, held, strict=True):
            self.taken[place] = own([self.taken[place]], is_held)
        return sum(self.taken[place].nbytes for place in places)


class TakenUnpickler(pickle.Unpickler):
    """Puts what was taken out of a stream back into its place."""

    def __init__(self, file: io.BytesIO, taken: list[Any]) -> None:
        super().__init__(file)
        self._taken = taken

    def persistent_load(self, index: int) -> Any:
        return self._taken[index]


def _copy(item: Any, own: Own) -> tuple[Any, int, bool]:
    """Return a copy of an item, the bytes of its arrays, and whether it is the item itself: it cannot be pickled."""
    if type(item) in CONTAINERS:
        plain = PlainCopy(own, item)
        try:
            return plain.of(item), plain.nbytes, False
        except (OtherError, RuntimeError):  # very deep, or changed meanwhile
            pass
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(item)
        nbytes = pickler.hand_over(item, own)
        file.seek(0)
        copied = TakenUnpickler(file, pickler.taken).load()
    except Exception:
        if type(item) in CONTAINERS:
            return _copy_parts(item, own)
        return item, 0, True
    return copied, nbytes, False


def _copy_parts(item: Any, own: Own) -> tuple[Any, int, bool]:
    """Copy a container of which a part cannot be pickled: that part is passed on uncopied, the others are copied."""
    parts = list(item.values() if type(item) is dict else item)
    try:
        handed, nbytes = isolate(parts, own=own)
    except RecursionError:  # it contains itself
        return item, 0, True
    return (dict(zip(item, handed, strict=True)) if type(item) is dict else type(item)(handed)), nbytes, False


def is_settled(items: list[Any]) -> bool:
    """Return whether nobody outside of `items` can change the last one: the cheap test for the common cases."""
    kind = type(items[-1])
    if kind is np.ndarray and items[-1].base is None:  # as most results are
        return items[-1].flags.owndata and is_sole_owner(items) and not items[-1].dtype.hasobject
    if kind in SIMPLE:
        return True
    if kind is tuple:
        return SIMPLE.issuperset(map(type, items[-1]))
    if kind is list or kind is dict:
        return _is_flat(items[-1]) and is_sole_owner(items)
    if not is_taken(items[-1]) or type(items[-1].base) is not Anchor:
        return False
    return not items[-1].flags.writeable or (is_sole_owner(items) and _is_apart(items[-1]))


def _is_apart(array: Array) -> bool:
    """Return whether nobody else writes to the part of a block that an array has.

    Arrays that a message has brought lie beside each other, if they may be written to.
    """
    block: Any = array.base
    is_claimed = block.drop is not None and block.claimed
    del block  # references to it are counted
    return is_claimed or is_sole_owner_of_base(array)


def _is_flat(container: list[Any] | dict[Any, Any]) -> bool:
    values = container.values() if type(container) is dict else container
    return SIMPLE.issuperset(map(type, values)) and SIMPLE.issuperset(map(type, container))


def settle(results: list[Any]) -> None:
    """Make the last result one that nobody outside of `results` can change: its maker may fill it again."""
    if not is_settled(results):
        results += isolate([results.pop()])[0]


def isolate(
    items: list[Any],
    access: Access = Access.READ,
    passed: Passed | None = None,
    number: int = 0,
    own: Own | None = None,
) -> tuple[list[Any], int]:
    """Return the items for a reader, and the bytes of their arrays. Empties `items`: the reader alone is to have them.

    `passed`: the check of the generator that has yielded them; `number`: that of the first item. `own`: another rule
    than that of `access`.
    """
    own = own or _RULES[access]
    handed: list[Any] = []
    nbytes = 0
    items.reverse()
    while items:
        box = [items.pop()]
        if type(box[0]) in SIMPLE:
            handed.append(box[0])
        elif is_taken(box[0]):
            handed.append(own(box, False))
            nbytes += handed[-1].nbytes
        else:
            copied, more, is_itself = _copy(box[0], own)
            if is_itself and passed is not None:
                passed.check(copied, number + len(handed))
            handed.append(copied)
            nbytes += more
    return handed, nbytes
