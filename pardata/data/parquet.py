"""Tables in Parquet files (pyarrow): row groups are read by any process, new files are written by one.

A file of which another one has the rows is read with the columns, the types and the values of folders' names that the
user's dataset says. A filter is left to the stages behind: pyarrow does not tell it.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from pardata.data.file_array import check_mark, file_mark, gone
from pardata.data.file_table import FileTable
from pardata.data.new_file import NewTable
from pardata.errors import BrokenError, ConfigError, StaleBlockError
from pardata.memory.disk import naming

_GROUP_BYTES: Final = 16 << 20  # of a new file, in memory: small tables are put together
_OWN_BYTES: Final = 1 << 14  # of a table that is copied till then: its arrays may be memory that others wait for


class RowGroup(NamedTuple):
    """The place of some rows: the number of the file, and that of the group in it."""

    file: int
    number: int


class DatasetTable(FileTable):
    """A dataset: each process opens its files by their paths."""

    def __init__(self, dataset: Any) -> None:
        self._schema, self._format, self._filesystem = dataset.schema, dataset.format, dataset.filesystem
        fragments = _fragments(dataset)
        paths = [_absolute(fragment) for fragment in fragments]
        self._files = [(path, found.partition_expression) for path, found in zip(paths, fragments, strict=True)]
        self._marks = [file_mark(path) if os.path.isabs(path) else None for path in paths]
        groups = [(number, group) for number, fragment in enumerate(fragments) for group in fragment.row_groups]
        self._groups = [RowGroup(number, group.id) for number, group in groups]
        first = self._files[0][0] if fragments else "a dataset without files"
        more = f" and {len(fragments) - 1} more" if len(fragments) > 1 else ""
        obstacle = "it is in the memory of this process" if _is_in_memory(self._filesystem) else ""
        super().__init__(f"{first}{more}", tuple(group.num_rows for _, group in groups), obstacle)

    def read(self, group: int) -> Any:
        file, number = self._groups[group]
        path, partition = self._files[file]
        check_mark(path, path, self._marks[file])
        try:
            fragment = self._format.make_fragment(path, self._filesystem, partition, row_groups=[number])
            table = fragment.to_table(schema=self._schema, batch_size=max(1, self.group_rows[group]))
        except FileNotFoundError as error:
            raise gone(path, error) from error
        except pa.ArrowInvalid as error:
            raise BrokenError(f"{path} cannot be read by the schema of its dataset: {error}") from error
        except IndexError as error:
            raise StaleBlockError(f"{path} was replaced meanwhile: it has no row group {number}") from error
        if table.num_rows != self.group_rows[group]:
            raise StaleBlockError(
                f"{path} was replaced meanwhile: row group {number} had {self.group_rows[group]} rows, and has "
                f"{table.num_rows}"
            )
        return table


def _fragments(dataset: Any) -> list[Any]:
    try:
        return list(dataset.get_fragments())
    except ValueError as error:
        raise ConfigError(
            "a filtered dataset does not tell its filter, and cannot be opened again: give it unfiltered, and filter "
            "in a stage, .map(lambda table: table.filter(...))"
        ) from error


def _is_in_memory(filesystem: Any) -> bool:
    protocols = getattr(getattr(getattr(filesystem, "handler", None), "fs", None), "protocol", ())  # one of fsspec
    return "memory" in ((protocols,) if isinstance(protocols, str) else protocols)


def _absolute(fragment: Any) -> str:
    """Return the path of a file, the same from any working directory."""
    path: str = fragment.path
    return os.path.abspath(path) if isinstance(fragment.filesystem, fs.LocalFileSystem) else path


def adapt(found: Any) -> FileTable:
    """Return the `FileTable` of a dataset. Raises `ConfigError` of other objects of these modules."""
    is_of_files = isinstance(found, ds.FileSystemDataset)
    if is_of_files and isinstance(found.format, ds.ParquetFileFormat):
        return DatasetTable(found)
    kind = type(found).__name__
    if isinstance(found, pq.ParquetFile):
        raise ConfigError("a ParquetFile does not tell its path, to be opened again: give pardata.open(path)")
    if isinstance(found, ds.InMemoryDataset):
        raise ConfigError(f"an {kind} has its rows in memory: give its record batches, dataset.to_batches()")
    if isinstance(found, ds.Dataset):
        raise ConfigError(
            f"this {kind} is none of Parquet files, whose row groups workers read: give its record batches, "
            f"dataset.to_batches(), or its files, list(dataset.get_fragments()), and read each in a stage, "
            f".map(lambda fragment: fragment.to_table())"
        )
    raise ConfigError(f"a {kind} is part of a dataset: give that, pardata.open(path)")


def open_path(path: str, key: str | None) -> Any:
    """Return the dataset of a file, or of a folder of files."""
    if key is not None:
        raise ConfigError(f"open({path!r}, key={key!r}): it is one table, of which all columns are read")
    try:
        return ds.dataset(path if "://" in path else os.path.abspath(path), format="parquet", partitioning="hive")
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"open({path!r}): {error}") from error


class NewParquet(NewTable):
    """A file whose row groups are written as tables have come together to them."""

    _writer: Any = None

    def __init__(self, path: str, compression: Any) -> None:
        super().__init__(path)
        self._compression = "snappy" if compression is None else compression  # pyarrow's default
        self._held: list[Any] = []
        self._held_bytes = 0  # summed up once: small tables are many
        self._rows = 0
        try:  # what pyarrow does not know is told before anything is written
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([]), compression=self._compression).close()
        except (pa.ArrowException, TypeError, AttributeError) as error:
            raise ConfigError(f"{self.path}: compression={compression!r}: {error}") from error

    def add(self, rows: Any) -> None:
        table = self._checked(_as_table(rows, self.path))
        nbytes = table.nbytes
        self._held_bytes += nbytes
        self._rows += table.num_rows
        is_full = self._held_bytes >= _GROUP_BYTES
        self._held.append(_copied(table) if nbytes >= _OWN_BYTES and not is_full else table)
        if is_full:
            self._flush()

    def _checked(self, table: Any) -> Any:
        if self._writer is None:
            with naming(self.path):
                self._writer = pq.ParquetWriter(self.part, table.schema, compression=self._compression)
        schema = self._writer.schema
        if not table.schema.equals(schema):
            raise ValueError(
                f"row {self._rows} of {self.path} has the columns {_columns(table.schema)}, and the first row "
                f"{_columns(schema)}"
            )
        return table.replace_schema_metadata(schema.metadata)  # that of pandas tells of the rows of one table

    def _flush(self) -> None:
        table = pa.concat_tables(self._held)
        self._held, self._held_bytes = [], 0
        with naming(self.path):
            self._writer.write_table(table, max(1, table.num_rows))

    def commit(self) -> None:
        if self._writer is None:
            self._checked(pa.table({}))
        if self._held:
            self._flush()
        super().commit()

    def close(self) -> None:
        if self._writer is not None:
            with naming(self.path):
                self._writer.close()


def _as_table(rows: Any, path: str) -> Any:
    convert = getattr(rows, "to_arrow", None)  # of polars: its texts in a form that old readers of Parquet know
    try:
        table = convert() if callable(convert) else _of_pandas(rows) if _is_pandas(rows) else pa.table(rows)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise ValueError(
            f"{path} takes tables, as a dict of arrays ({{name: [1, 2]}}), and was given a {type(rows).__name__}: "
            f"{error} (of rows, dicts of single values, .batch(1000).map(pandas.DataFrame) makes tables)"
        ) from error
    return table


def _copied(table: Any) -> Any:
    """Return a copy of a table; the table itself if it has types that nobody has registered with pyarrow."""
    with pa.BufferOutputStream() as stream:
        with pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table)
        made = pa.ipc.open_stream(stream.getvalue()).read_all()
    return made if made.schema.equals(table.schema) else table


def _is_pandas(rows: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(rows, pandas.DataFrame)


def _of_pandas(frame: Any) -> Any:
    """Return a table. By default pyarrow leaves an index out if it is a range, which that of filtered rows may be."""
    index = frame.index
    has_numbers = index.nlevels == 1 and index.name is None and index.dtype.kind in "iu"
    return pa.Table.from_pandas(frame, preserve_index=not has_numbers)


def _columns(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def new_file(path: str, key: str | None, compression: Any) -> NewTable:
    """Return a new file."""
    if key is not None:
        raise ConfigError(f"{path}: it becomes one table, which has no key={key!r}")
    return NewParquet(path, compression)
