"""The form in which a part of an Arrow table crosses a channel: its rows, where pyarrow would pickle all of the table.

A slice of a table, and each record batch of a table that was cut into batches, is a view of buffers with all rows, and
its own pickle has these whole: ten rows of a million are as long as the million. Arrow's streams (IPC) cut to the rows.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any, Final

_SHARED: Final = 2  # times its own bytes: what is held of other rows may be so much
_LEAST_BYTES: Final = 1 << 12  # what is shorter goes as it is
_KINDS: Final = ("Table", "RecordBatch", "ChunkedArray", "Array")


def reduce_part(obj: Any) -> Any:
    """Return the reduced value of a part of a table or a column of pyarrow; NotImplemented of other objects."""
    kind = type(obj)
    if kind.__module__ != "pyarrow.lib" or not hasattr(kind, "get_total_buffer_size"):
        return NotImplemented
    held = obj.get_total_buffer_size()
    if held < _LEAST_BYTES or held <= _SHARED * obj.nbytes:
        return NotImplemented
    pa: Any = sys.modules["pyarrow"]
    name = next(name for name in _KINDS if isinstance(obj, getattr(pa, name)))
    rows = obj if name in ("Table", "RecordBatch") else _as_rows(pa, name, obj)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    stream = sink.getvalue()
    with pa.ipc.open_stream(stream) as reader:  # a type that is not registered with pyarrow would be another one
        is_same = reader.schema.equals(rows.schema, check_metadata=True)
    return (_rebuild, (name, pickle.PickleBuffer(stream))) if is_same else NotImplemented


def _as_rows(pa: Any, name: str, column: Any) -> Any:
    return pa.record_batch([column], [""]) if name == "Array" else pa.table({"": column})


def _rebuild(name: str, stream: Any) -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
        rows = reader.read_next_batch() if name in ("RecordBatch", "Array") else reader.read_all()
    return rows if name in ("RecordBatch", "Table") else rows.column(0)
