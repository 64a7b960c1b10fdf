"""A look-up table in shared memory: built once, read by all workers, replaced as a whole while they read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from pardata.errors import BrokenError, ClosedError, ConfigError
from pardata.lookup.base import Array, Columns, Lookup, unwrapped
from pardata.lookup.columns import split_columns
from pardata.lookup.generation_pointer import ID_BYTES, GenerationPointer, tag_of
from pardata.lookup.table_file import TableGeneration, build
from pardata.memory.budget import format_bytes
from pardata.process.capacity import check_descriptors

_MOST_COMPARED: Final = 100_000  # entries: some ms, and of objects half a second


class Table(Lookup):
    """A look-up table in shared memory.

    All processes read the same memory, without a lock and without a copy. The kernel frees it when the last process
    that has it open ends or closes it. Numbers are found by bisection, texts by checksum.

    Parameters
    ----------
    data : mapping, array or sequence of keys, structured array, or DataFrame
        Keys are numbers, or str, or bytes; no key occurs twice.
    values : array or sequence, or mapping name -> array or sequence; each of shape (n, ...), optional
        The values, if `data` are the n keys. Arrays stay arrays; str and bytes are kept exactly; any other object is
        pickled, and unpickled by each look-up.
    key : str, optional
        Name of the column that holds the keys, if `data` is a structured array, a DataFrame (default: its index) or a
        mapping of columns.

    Raises
    ------
    ConfigError
        A key occurs twice, keys are of several kinds, lengths differ, or the arguments do not fit each other.
    SerializationError
        A value cannot be pickled.
    CapacityError
        There is not enough memory.

    Notes
    -----
    The table lives as long as the process that made it keeps it; processes that have it open then may go on reading.
    Pickling a table pickles its address. Only the process that made it can `replace` its contents.

    Examples
    --------
    >>> stars = pardata.Table([71683, 32349], {"name": ["Rigil Kentaurus", "Sirius"], "magnitude": [-0.01, -1.46]})
    >>> stars[32349]
    {'name': 'Sirius', 'magnitude': -1.46}
    """

    def __init__(self, data: Any, values: Any = None, *, key: str | None = None) -> None:
        self._replacing = threading.Lock()
        self._maker = os.getpid()
        check_descriptors("a table", 4)  # a file for the pointer and one for the contents, each with its mapping's
        self._set_up(GenerationPointer(os.urandom(ID_BYTES)))
        self.replace(data, values, key=key)

    def _set_up(self, pointer: GenerationPointer) -> None:
        self._pointer: GenerationPointer | None = pointer
        self._identity, self._path = pointer.identity, pointer.path
        self._words: Sequence[int] = pointer.words
        self._current: TableGeneration | None = None
        # Set in the maker alone: other processes can open the file of a generation as long as this refers to it.
        self._published: TableGeneration | None = None

    def replace(self, data: Any, values: Any = None, *, key: str | None = None) -> None:
        """Replace the contents, for all processes at once.

        Each look-up is answered from the old contents or from the new ones, never from both. If this raises, or if the
        process is killed meanwhile, the old contents stay. Their memory is freed when the last array over it is gone
        and each process has made its next look-up; until then it is needed beside that of the new ones.

        Parameters
        ----------
        data, values, key
            As for `Table`.

        Raises
        ------
        ConfigError
            As for `Table`; or another process has made the table.
        SerializationError, CapacityError
            As for `Table`.
        ClosedError
            After `close`.

        Examples
        --------
        >>> words = pardata.Table({"perihelion": 14})
        >>> words.replace({"perihelion": 15, "aphelion": 2})
        >>> words["perihelion"], words.generation
        (15, 2)
        """
        if os.getpid() != self._maker:
            raise ConfigError("only the process that made a table can replace its contents")
        with self._replacing:
            pointer = self._open_pointer()
            generation = self._words[0] + 1
            file = build(*split_columns(data, values, key), tag_of(pointer.identity, generation))
            made = TableGeneration(generation, file)
            pointer.publish(generation, file.path)
            self._published = made  # closes the old file here; readers that have it open keep it
            self._keep(made)

    def __getitem__(self, key: Any) -> Any:
        current = self._current
        if current is None or current.generation != self._words[0]:  # SYNC POINT: publication
            current = self._open()
        row = current.find(key)
        if row < 0:
            raise KeyError(key)
        return current.get_value(row)

    def __contains__(self, key: object) -> bool:
        return self._open().find(key) >= 0

    def __len__(self) -> int:
        return len(self._open().keys)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._open().keys)

    def _entries(self) -> Iterator[tuple[Any, Any]]:
        current = self._open()
        return zip(current.keys, map(current.get_value, range(len(current.keys))), strict=True)

    def range(self, low: Any = None, high: Any = None) -> tuple[Array, Any]:
        current = self._open()
        span = current.keys.span(low, high)
        return current.keys.take(span), unwrapped({name: column.take(span) for name, column in current.columns.items()})

    def _find(self, keys: Any) -> tuple[Array, Columns]:
        current = self._open()
        numbers = current.keys.find_many(keys)
        found = numbers >= 0
        if not found.all():
            numbers = numbers[found]
        return found, {name: column.take(numbers) for name, column in current.columns.items()}

    def _open(self) -> TableGeneration:
        """Return the current generation; threads that do this at once each get a whole one."""
        current = self._current
        if current is None or current.generation != self._words[0]:  # SYNC POINT: publication
            try:
                made = TableGeneration(*self._open_pointer().open_current())
            except BrokenError:
                if current is None:
                    raise
                # The maker has ended right after a publication. The generation that is open here stays whole: keep it.
                self._words = (current.generation,)
                return current
            self._keep(made)
            return made
        return current

    def _keep(self, current: TableGeneration) -> None:
        self._current = current
        if self._pointer is None:  # closed meanwhile, and `close` may not have seen this generation
            self.close()

    def _open_pointer(self) -> GenerationPointer:
        if self._pointer is None:
            raise ClosedError("the table was closed")
        return self._pointer

    @property
    def generation(self) -> int:
        """Number of the current contents: 1 at first, 1 more after each `replace`."""
        self._open_pointer()
        return self._words[0]

    @property
    def version(self) -> str:
        return f"{self._identity.hex()}-{self.generation}"

    @property
    def columns(self) -> list[str | None]:
        return list(self._open().columns)

    def close(self) -> None:
        """Release the memory of this handle; its later look-ups raise `ClosedError`.

        If this process has made the table, no process can open it any more. Processes that have it open go on reading.
        """
        self._pointer = None  # first: a look-up that opens a generation meanwhile checks for this
        self._words = (0,)
        self._current = self._published = None

    def statistics(self) -> dict[str, int]:
        """Return the number of keys, the bytes of shared memory and the generation.

        Examples
        --------
        >>> pardata.Table({"a": 1}).statistics()["keys"]
        1
        """
        current = self._open()
        return {"keys": len(current.keys), "nbytes": current.file.nbytes, "generation": current.generation}

    def _compared(self) -> Any:
        """Return what a checkpoint compares it by: another process has the same contents at another place."""
        current = self._open()
        count = len(current.keys)
        rows = np.unique(np.linspace(0, max(0, count - 1), min(count, _MOST_COMPARED)).astype(int))
        return count, current.keys.take(rows), {name: column.take(rows) for name, column in current.columns.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_pickle, (self._identity, self._path)

    def __repr__(self) -> str:
        try:
            numbers = self.statistics()
        except (ClosedError, BrokenError) as error:
            return f"<Table: {error}>"
        return f"<Table of {numbers['keys']} keys, {format_bytes(numbers['nbytes'])}, generation {self.generation}>"


def _from_pickle(identity: bytes, path: str) -> Table:
    """Return a handle of the table of another process."""
    table = object.__new__(Table)
    table._maker = -1
    table._set_up(GenerationPointer(identity, path))
    return table
