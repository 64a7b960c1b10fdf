"""A paged file as a Zarr v3 array: the file is its only shard, with a description beside it.

Source: Zarr v3 specification, core and sharding codec 1.0
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from pardata.errors import BrokenError, ConfigError
from pardata.files.layout import Format
from pardata.files.open_file import OpenFile
from pardata.memory.disk import write_new

_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_COMPRESSORS: dict[str | None, list[dict[str, Any]]] = {
    None: [],
    "gzip": [{"name": "gzip", "configuration": {"level": 6}}],
    "zstd": [{"name": "zstd", "configuration": {"level": 3, "checksum": False}}],
}
_DATA_TYPES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "complex64", "complex128"),
)  # the dtypes of the core specification, which every reader knows


def describe(form: Format, records: int, page_count: int) -> dict[str, Any]:
    """Return the contents of ``zarr.json``; raise `ConfigError` for records that a Zarr array cannot hold."""
    if form.kind != "array" or form.dtype.name not in _DATA_TYPES:
        raise ConfigError(f"a Zarr array has a dtype of {', '.join(_DATA_TYPES)}, not {form.descr or form.kind}")
    page = [form.page_records, *form.item_shape]
    sharding = {
        "chunk_shape": page,
        "codecs": [_BYTES, *_COMPRESSORS[form.compression], {"name": "crc32c"}],
        "index_codecs": [_BYTES, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [records, *form.item_shape],
        "data_type": form.dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [max(1, page_count) * form.page_records, *form.item_shape]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": False if form.dtype.kind == "b" else [0.0, 0.0] if form.dtype.kind == "c" else 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
    }


def link_as_zarr(file: OpenFile, directory: str) -> None:
    """Make the directory of the array; raise `BrokenError` if the file at the path has been replaced."""
    description = describe(file.format, file.records, file.header.page_count)
    parts = ["0"] * len(description["shape"])
    shard = os.path.join(directory, "c", *parts)
    try:
        os.mkdir(directory)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be made: {error}") from error
    try:
        write_new(os.path.join(directory, "zarr.json"), json.dumps(description, indent=1).encode())
        if file.header.page_count:
            os.makedirs(os.path.dirname(shard))
            try:
                os.link(os.path.realpath(file.path), shard)
            except OSError:  # on another file system, or one without links
                os.symlink(file.path, shard)
            if not os.path.exists(shard) or not os.path.samestat(os.stat(shard), os.fstat(file.fd)):
                raise BrokenError(f"{file.path} was replaced since this handle was opened: open it again")
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
