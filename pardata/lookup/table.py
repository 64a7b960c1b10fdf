"""A look-up table in shared memory: built once, read by all workers, replaced as a whole while they read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from pardata.errors import BrokenError, ClosedError, ConfigError
from pardata.lookup.base import Array, Columns, Lookup, unwrapped
from pardata.lookup.columns import split_columns
from pardata.lookup.generation_pointer import ID_BYTES, GenerationPointer, tag_of
from pardata.lookup.table_file import TableGeneration, build
from pardata.memory.budget import format_bytes


class Table(Lookup):
    """A look-up table in shared memory.

    All processes read the same memory, without a lock and without a copy; nothing of it is left when the last of them
    is gone. Numbers are found by bisection, texts by checksum.

    Parameters
    ----------
    data : mapping, array or sequence of keys, structured array, or DataFrame
        Keys are numbers, or str, or bytes, each once.
    values : array or sequence, or mapping name -> such, of one entry per key
        With `data` as the keys. Arrays stay arrays; str and bytes are kept exactly; anything else is pickled, and
        unpickled whenever it is looked up.
    key : str, optional
        The column of a structured array, of a DataFrame (default: its index) or of a mapping of columns that holds
        the keys.

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
    The table lives as long as the process that made it keeps it; who has it open then may go on reading. Pickling a
    table pickles its address. Only the process that made it can `replace` its contents.
    """

    def __init__(self, data: Any, values: Any = None, *, key: str | None = None) -> None:
        self._replacing = threading.Lock()
        self._maker = os.getpid()
        self._set_up(GenerationPointer(os.urandom(ID_BYTES)))
        self.replace(data, values, key=key)

    def _set_up(self, pointer: GenerationPointer) -> None:
        self._pointer: GenerationPointer | None = pointer
        self._identity, self._path = pointer.identity, pointer.path
        self._words: Sequence[int] = pointer.words
        self._current: TableGeneration | None = None
        self._published: TableGeneration | None = (
            None  # of the maker: others can open its file as long as it is kept here
        )

    def replace(self, data: Any, values: Any = None, *, key: str | None = None) -> None:
        """Put other contents in the place of these, at once for all; arguments and errors as for `Table`.

        Every look-up sees all of the old contents or all of the new ones. If it raises, or if the process is killed
        meanwhile, the old contents stay. The old memory returns when the last array or process lets go of it; until
        then both are there.
        """
        if os.getpid() != self._maker:
            raise ConfigError("only the process that made a table can replace its contents")
        with self._replacing:
            pointer = self._open_pointer()
            generation = self._words[0] + 1
            file = build(*split_columns(data, values, key), tag_of(pointer.identity, generation))
            made = TableGeneration(generation, file)
            pointer.publish(generation, file.path)
            self._published = made  # lets go of the old file: who has it open keeps it
            self._keep(made)

    def __getitem__(self, key: Any) -> Any:
        current = self._current
        if current is None or current.generation != self._words[0]:
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
        """Return the current generation. Threads may do this at once: each has one whole generation."""
        current = self._current
        if current is None or current.generation != self._words[0]:
            try:
                made = TableGeneration(*self._open_pointer().open_current())
            except BrokenError:
                if current is None:
                    raise
                # The maker has ended right after a publication. What is open here stays whole: go on with it.
                self._words = (current.generation,)
                return current
            self._keep(made)
            return made
        return current

    def _keep(self, current: TableGeneration) -> None:
        self._current = current
        if self._pointer is None:  # closed meanwhile, and `close` may not have seen these
            self.close()

    def _open_pointer(self) -> GenerationPointer:
        if self._pointer is None:
            raise ClosedError("the table was closed")
        return self._pointer

    @property
    def generation(self) -> int:
        """How often the contents have been put in place: 1 at first."""
        self._open_pointer()
        return self._words[0]

    @property
    def version(self) -> str:
        return f"{self._identity.hex()}-{self.generation}"

    @property
    def columns(self) -> list[str | None]:
        return list(self._open().columns)

    def close(self) -> None:
        """Let go of the memory. If this process has made the table, nobody can open it any more; else as `Lookup`."""
        self._pointer = None  # first: a look-up that has just opened something looks whether it is there
        self._words = (0,)
        self._current = self._published = None

    def statistics(self) -> dict[str, int]:
        """Return keys, nbytes (of shared memory) and generation."""
        current = self._open()
        return {"keys": len(current.keys), "nbytes": current.file.nbytes, "generation": current.generation}

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_pickle, (self._identity, self._path)

    def __repr__(self) -> str:
        try:
            numbers = self.statistics()
        except (ClosedError, BrokenError) as error:
            return f"<Table: {error}>"
        return f"<Table of {numbers['keys']} keys, {format_bytes(numbers['nbytes'])}, generation {self.generation}>"


def _from_pickle(identity: bytes, path: str) -> Table:
    """Return a handle of another process's table."""
    table = object.__new__(Table)
    table._maker = -1
    table._set_up(GenerationPointer(identity, path))
    return table
