"""ShareableList: a list of fixed length in a named block, drop-in for the standard library's.

Any process that attaches reads and writes the same items; each read looks at the item's format anew, because another
process may have changed its type. Numbers are read and written through casts of the block made once, at the attach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice, pairwise
from typing import Any, Self, SupportsIndex, TypeVar, cast, overload

import numpy as np

from pardata.memory.named import list_layout as layout
from pardata.memory.named.block import SharedMemory
from pardata.memory.named.list_layout import (
    BOOL,
    BYTES,
    FLOAT,
    INT,
    LEAST_INT,
    MOST_INT,
    NONE,
    NUMBER,
    STR,
    UNSIGNED,
    WORD_BYTES,
    Room,
)

T = TypeVar("T")


class ShareableList(Sequence[T]):
    """A list of int, float, bool, str, bytes and None that several processes read and write.

    Its length is fixed; an item may be replaced by one of any type that fits into its room: 8 bytes, for a string
    the bytes of the first one, rounded up to words. Every value comes back exactly and as the plain Python type,
    also values of NumPy's scalar types. It attaches to lists of `multiprocessing.shared_memory.ShareableList`, and
    these attach to it.

    Storing a number is one store of 8 bytes. All else (a string, a change of type) takes several, and a reader
    in another process may come between them: guard it with a lock of your own.

    Parameters
    ----------
    sequence : iterable, optional
        The items of a new list. Without it and with a name, an existing list is attached to.
    name : str, optional
        The name of the block; a new list without one gets a new, unique name.

    Attributes
    ----------
    shm : SharedMemory
        The block; ``shm.unlink()`` removes it. After ``shm.close()`` this list can still be used.

    Raises
    ------
    TypeError
        An item is of another type (the text names its position); no memory was created.
    ValueError
        An item takes more than 9,999,991 bytes; or the block called `name` holds no list, or only a part of one.
    FileExistsError, FileNotFoundError
        There is a block of that name already, or none to attach to.
    CapacityError
        The block does not fit; nothing was created.

    Examples
    --------
    >>> shared = pardata.ShareableList([1, 2.5, "three"])
    >>> shared[2] = "drei"
    >>> list(pardata.ShareableList(name=shared.shm.name))  # in any process
    [1, 2.5, 'drei']
    >>> shared.shm.unlink()

    Source: the layout is that of CPython's Lib/multiprocessing/shared_memory.py; see `list_layout`
    """

    def __init__(self, sequence: Iterable[T] | None = None, *, name: str | None = None) -> None:
        if name is None or sequence is not None:
            self._fill(() if sequence is None else sequence, partial(SharedMemory, name, True))
            return
        self.shm = SharedMemory(name)
        try:
            self._map(self.shm.buf)
        except ValueError:
            self.shm.close()
            raise

    @classmethod
    def _create_with(cls, new_block: Callable[[int], SharedMemory], sequence: Iterable[T]) -> Self:
        """Create a list in the block that `new_block` returns for a number of bytes."""
        made = cls.__new__(cls)
        made._fill(sequence, new_block)
        return made

    def _fill(self, sequence: Iterable[T], new_block: Callable[[int], SharedMemory]) -> None:
        image = layout.image(sequence)
        self.shm = new_block(len(image))
        self.shm.buf[: len(image)] = image
        self._map(self.shm.buf)

    def _map(self, block: memoryview) -> None:
        *self._places, formats = places = layout.places(block, self.shm.name)
        n = len(self._places)
        words = block[: block.nbytes // WORD_BYTES * WORD_BYTES]
        self._rooms = [layout.room_of(WORD_BYTES * (end - place)) for place, end in pairwise(places)]
        self._bytes = block
        self._ints: Any = words.cast("q")
        self._floats: Any = words.cast("d")
        self._words = words.cast("Q")
        self._formats = self._words[formats : formats + n]
        self._codes = block[WORD_BYTES * (formats + n) :][:n]

    # -- reading -------------------------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        """Return an item, or a list of those of a slice. Raises IndexError.

        Raises ValueError if the item cannot be read: another process is changing it at this moment.
        """
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        try:
            place = self._places[index]
        except IndexError:
            raise IndexError(f"index out of range: {index} of {len(self)} items") from None
        form = self._formats[index]
        if form == INT:
            return self._ints[place]
        if form == FLOAT:
            return self._floats[place]
        return self._read(form, self._codes[index], place, self._rooms[index])

    def _read(self, form: int, code: int, place: int, room: Room) -> Any:
        """Return an item that is neither a signed int nor a float."""
        padded_format, filled = room
        if form != padded_format:
            if form == NONE:
                return None
            if form == BOOL:
                return self._ints[place] != 0
            if form == UNSIGNED:
                return self._words[place]
        (raw,) = filled.unpack_from(self._bytes, WORD_BYTES * place)
        try:
            if form != padded_format:
                return layout.unpack_string(raw, form, code)
            if code == STR:
                return raw.rstrip(b"\0").decode("utf-8", "surrogatepass")
            return layout.unpack_padded(raw, code)
        except ValueError as error:
            raise ValueError(
                f"item {self._places.index(place)} of {self.shm.name!r} cannot be read: {error}. Either another "
                f"process is changing it now, or something else than a ShareableList has written there"
            ) from error

    def __iter__(self) -> Iterator[T]:
        """Yield each item as it is when it is reached."""
        return cast("Iterator[T]", self._each())

    def _each(self) -> Iterator[Any]:
        # The usual kinds are read here and not by `_read`: a call per str takes half as long again.
        ints, floats = self._ints, self._floats
        for form, code, (padded, raw, place, room) in zip(self._formats, self._codes, self._items, strict=True):
            if form == padded:
                if code == STR:
                    try:
                        text = raw().decode()
                    except UnicodeDecodeError:
                        text = self._read(form, code, place, room)  # a lone surrogate, or an error that names the item
                    yield text
                elif code == BYTES:
                    yield raw()
                else:
                    yield self._read(form, code, place, room)
            elif form == INT:
                yield ints[place]
            elif form == FLOAT:
                yield floats[place]
            elif form == BOOL:
                yield ints[place] != 0
            elif form == NONE:
                yield None
            else:
                yield self._read(form, code, place, room)

    @cached_property
    def _items(self) -> list[tuple[int, Any, int, Room]]:
        """The items as iteration needs them: the format that fills the room, a reader of that, place, and room.

        An item of NumPy's type S is read without the NULs behind it, in one call: half the time of `struct` and
        `rstrip`. Such a reader takes 200 bytes, so only items that are strings at the first iteration get one.
        """
        made: list[tuple[int, Any, int, Room]] = []
        for form, place, room in zip(self._formats, self._places, self._rooms, strict=True):
            padded, raw = -1, None  # no format is negative
            if form == room[0]:
                padded, raw = form, np.ndarray((), f"S{room[1].size}", self._bytes, WORD_BYTES * place).item
            made.append((padded, raw, place, room))
        return made

    def __len__(self) -> int:
        return len(self._places)

    def count(self, value: Any) -> int:
        """Return the number of items that equal `value`."""
        return sum(item == value for item in self)

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the first position of `value` in ``[start, stop)``. Raises `ValueError` if there is none."""
        for position, item in islice(enumerate(self), *slice(start, stop).indices(len(self))):
            if item == value:
                return position
        raise ValueError(f"{value!r} is not in this list")

    # -- writing -------------------------------------------------------------------------------------------------------

    def __setitem__(self, index: SupportsIndex, value: T) -> None:
        """Replace an item, by one of any type that a list may have: an item keeps its room, and not its type.

        Raises
        ------
        ValueError
            The value exceeds the item's room: a text or bytes may be as long as the one that the list was made with,
            rounded up to 8 bytes. Nothing was changed.
        TypeError, IndexError
            It is of a type that cannot be stored, or `index` is a slice; there is no such item.
        """
        if isinstance(index, slice):
            raise TypeError("a slice of a ShareableList can be read, not assigned: assign each item")
        try:
            place = self._places[index]
        except IndexError:
            raise IndexError(f"assignment index out of range: {index} of {len(self)} items") from None
        item: Any = value
        if type(item) is float:
            self._floats[place] = item
            form, code = FLOAT, NUMBER
        elif type(item) is int and LEAST_INT <= item <= MOST_INT:
            self._ints[place] = item
            form, code = INT, NUMBER
        else:
            form, code = self._write(index, item, place)
        # Behind the value. Where a number replaces one of its kind, these two are as they were, so the change is one
        # store.
        self._formats[index] = form
        self._codes[index] = code

    def _write(self, index: SupportsIndex, value: object, place: int) -> tuple[int, int]:
        """Write a value that is neither a plain int nor a plain float; return its format and code."""
        padded_format, filled = self._rooms[index]
        form, code, raw = layout.pack(value, index)
        if len(raw) > filled.size:
            raise ValueError(
                f"item {index}: this {type(value).__name__} takes {len(raw)} bytes and exceeds available storage: the "
                f"room made for the first item there has {filled.size}"
            )
        filled.pack_into(self._bytes, WORD_BYTES * place, raw)
        return form or padded_format, code

    # -- the rest of the standard library's interface ------------------------------------------------------------------

    @property
    def format(self) -> str:
        """The `struct` formats of all items, one behind the other."""
        return "".join(self._get_packing_format(position) for position in range(len(self)))

    def _get_packing_format(self, position: int) -> str:
        """Return the `struct` format of an item. The standard library's tests ask for it by this name."""
        return layout.word_bytes(self._formats[position]).decode("latin-1")

    def __reduce__(self) -> tuple[partial[ShareableList[T]], tuple[()]]:
        return partial(type(self), name=self.shm.name), ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)}, name={self.shm.name!r})"
