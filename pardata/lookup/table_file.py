"""The file of one generation of a table: how it is written, and how it is read."""

from __future__ import annotations

from typing import Any

import numpy as np

from pardata.errors import ConfigError
from pardata.lookup.base import Array
from pardata.lookup.columns import ArrayColumn, GappedColumn, Given, HeapColumn, HeapDraft, as_column, codec_name
from pardata.lookup.keys import NumberKeys, TextKeys, keys_of, number_keys, sort_numbers, sort_texts, times_hint
from pardata.memory.sealed import Draft, SealedFile


class TableGeneration:
    """One generation of a table, open: its keys and columns lie in a sealed file."""

    def __init__(self, generation: int, file: SealedFile) -> None:
        arrays, info = file.arrays, file.info
        self.generation = generation
        self.file = file
        self.keys: NumberKeys | TextKeys
        if info["keys"] is None:
            self.keys = NumberKeys(arrays["keys"])
        else:
            self.keys = TextKeys(arrays["sums"], arrays["key ends"], arrays["key heap"], info["keys"])
        self.columns: dict[str | None, ArrayColumn | GappedColumn | HeapColumn] = {}
        for number, (name, codec) in enumerate(info["columns"]):
            if codec is not None:
                self.columns[name] = HeapColumn(arrays[f"{number} ends"], arrays[f"{number} heap"], codec)
            elif (missing := arrays.get(f"{number} missing")) is not None:
                self.columns[name] = GappedColumn(arrays[f"{number}"], missing)
            else:
                self.columns[name] = ArrayColumn(arrays[f"{number}"])
        self.get_value = self.columns[None].get if None in self.columns else self._get_record
        self.find = self.keys.find

    def _get_record(self, row: int) -> dict[str | None, Any]:
        return {name: column.get(row) for name, column in self.columns.items()}


def build(keys: Any, columns: Given, tag: bytes) -> SealedFile:
    """Return the sealed file of a generation: sort the keys, measure the columns, reserve the memory and fill it."""
    first, order, key_draft = _sorted_keys(keys)
    layout: dict[str, Any] = {"keys" if key_draft is None else "sums": (first.dtype, first.shape)}
    if key_draft is not None:
        layout |= _heap_layout("key", key_draft)
    drafts, codecs = _drafts_of(columns, len(first))
    for place, draft in drafts.items():
        if isinstance(draft, np.ndarray):
            layout[place] = draft.dtype, draft.shape
        else:
            layout |= _heap_layout(place, draft)
    info = {"keys": key_draft and key_draft.codec, "columns": list(zip(columns, codecs, strict=True))}
    file = Draft(layout, info, tag)
    file.arrays["keys" if key_draft is None else "sums"][...] = first
    for place, draft in drafts.items():
        _write(file, place, draft, order)
    if key_draft is not None:
        _write(file, "key", key_draft, order)
    return file.seal()


def _sorted_keys(keys: Any) -> tuple[Array, Array | None, HeapDraft | None]:
    """Return numbers, sorted, or the sorted checksums of texts; the order in which the rows are sorted; the texts."""
    given = keys_of(keys)
    if isinstance(given, np.ndarray) and given.dtype.kind in "biuf" and given.ndim == 1:
        return *sort_numbers(number_keys(given)), None
    texts = given.tolist() if isinstance(given, np.ndarray) else given
    if codec_name(texts) == "pickle":
        raise ConfigError(f"keys must be numbers of one kind, or all str, or all bytes{times_hint(given)}")
    draft = HeapDraft(texts)
    return *sort_texts(draft), draft


def _drafts_of(columns: Given, rows: int) -> tuple[dict[str, Array | HeapDraft], list[str | None]]:
    """Return the columns by their places in the file, and the codec of each; None: it is an array."""
    if not columns:
        raise ConfigError("a table needs at least one column of values")
    drafts: dict[str, Array | HeapDraft] = {}
    codecs: list[str | None] = []
    for number, (name, values) in enumerate(columns.items()):
        made, missing = as_column(values)
        if len(made) != rows:
            raise ConfigError(f"there are {rows} keys, but {len(made)} values{f' of {name!r}' if name else ''}")
        drafts[f"{number}"] = draft = made if isinstance(made, np.ndarray) else HeapDraft(made)
        codecs.append(None if isinstance(draft, np.ndarray) else draft.codec)
        if missing is not None:
            drafts[f"{number} missing"] = missing
    return drafts, codecs


def _write(file: Draft, name: str, draft: Array | HeapDraft, order: Array | None) -> None:
    """Write a column into the file, in the order of the keys."""
    if isinstance(draft, HeapDraft):
        draft.write(file.arrays[f"{name} ends"], file.arrays[f"{name} heap"], order)
    elif order is None:
        file.arrays[name][...] = draft
    else:
        np.take(draft, order, axis=0, out=file.arrays[name], mode="clip")  # "raise" would buffer `out`


def _heap_layout(name: str, draft: HeapDraft) -> dict[str, Any]:
    return {
        f"{name} ends": (np.dtype(np.int64), (len(draft.parts),)),
        f"{name} heap": (np.dtype(np.uint8), (draft.nbytes,)),
    }
