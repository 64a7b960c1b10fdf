"""A function of an array in a file, into another file: two warm workers read, decompress, compute, compress and write.

Zarr: 1 GB in chunks of 8 MB, zstd. HDF5: 256 MB in chunks of 4 MB, gzip; there the rival by hand returns its blocks to
the main process, which alone may write. TIFF: 96 pages of 2 MB, deflate, into a new file, with and without
compression; the rival's workers read by `imread(key=...)`, and its main process writes. All bytes are read from the
system's cache.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import FileWork, Rival
from benchmarks.timing import outcome, repeat

WORKERS = 2
ROW = (1024, 1024)  # float32: 4 MB
ZARR_ROWS, ZARR_CHUNK, HDF5_ROWS, HDF5_CHUNK, TIFF_ROWS = 256, 2, 64, 1, 96


def transform(block: Any) -> Any:
    """Cheap, so that reading and writing count."""
    return np.sqrt(block)


def _row(number: int) -> Any:
    """An image of a detector: a gradient and noise of a few bits, so that it can be compressed."""
    noise = np.random.default_rng(number).integers(0, 32, ROW)
    return (noise + np.arange(ROW[1]) // 4 + number).astype(np.float32)


def _fill(target: Any, rows: int) -> None:
    for number in range(rows):
        target[number] = _row(number)


def zarr_work(folder: str, rows: int) -> FileWork:
    """Make the files."""
    import zarr

    paths = [f"{folder}/{name}.zarr" for name in ("source", "target")]
    for path in paths:
        shape, chunks = (rows, *ROW), (ZARR_CHUNK, *ROW)
        made = zarr.create_array(path, shape=shape, chunks=chunks, dtype="f4")  # zstd is the default
    _fill(zarr.open_array(paths[0]), rows)
    return FileWork(transform, paths[0], paths[1], made.shape, ZARR_CHUNK)


def hdf5_work(folder: str, rows: int) -> FileWork:
    """Make the files."""
    import h5py

    paths = [f"{folder}/{name}.h5" for name in ("source", "target")]
    shape = (rows, *ROW)
    for path in paths:
        with h5py.File(path, "w") as file:
            made = file.create_dataset("data", shape, "f4", chunks=(HDF5_CHUNK, *ROW), compression="gzip")
            if path == paths[0]:
                _fill(made, rows)
    return FileWork(transform, paths[0], paths[1], shape, HDF5_CHUNK)


def tiff_work(compression: str | None, folder: str, rows: int) -> FileWork:
    """Make the source."""
    import tifffile

    work = FileWork(transform, f"{folder}/source.tif", f"{folder}/target.tif", (rows, *ROW), 1, compression)
    images = (_row(number).astype(np.uint16) for number in range(rows))
    tifffile.imwrite(
        work.source, images, shape=work.shape, dtype=np.uint16, compression="zlib", compressionargs={"level": 1}
    )
    return work


def _check(work: FileWork) -> None:
    with work.opened(work.target, "r") as made, work.opened(work.source, "r") as source:
        for number in (0, work.shape[0] // 2, work.shape[0] - 1):
            found, given = (array[number].asarray() if work.is_new else array[number] for array in (made, source))
            assert np.array_equal(found, work.fn(given)), f"row {number} is wrong"


def measure(make: Callable[[str, int], FileWork], rows: int, rival: Rival, seconds: float) -> Outcome:
    """Seconds per file, after one that does not count."""
    folder = tempfile.mkdtemp(prefix="pardata-bench-")
    try:
        work = make(folder, rows)
        with rival.map_file(work, WORKERS) as call:
            call()
            taken = repeat(call, seconds, fewest=1)
        _check(work)
        return outcome(taken, rows)
    finally:
        shutil.rmtree(folder)


def _peak_bytes() -> int:
    """The most memory that this process has had since it was asked to forget it."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def measure_peak(rows: int, rival: Rival, seconds: float) -> Outcome:
    """By how much the main process grows, in MB, while a file is worked on."""
    folder = tempfile.mkdtemp(prefix="pardata-bench-")
    try:
        work = zarr_work(folder, rows)
        with rival.map_file(work, WORKERS) as call:
            with open("/proc/self/clear_refs", "w") as forget:
                forget.write("5")
            start = _peak_bytes()
            call()
            grown = _peak_bytes() - start
        _check(work)
        return {"value": grown / 1e6, "items": rows}
    finally:
        shutil.rmtree(folder)


ZARR_SIDES = ("pardata", "dask threads", "dask processes")

CASES = (
    Case(
        "data_zarr",
        "sqrt of a Zarr array of 1 GB, zstd, into another one",
        "s",
        ZARR_SIDES,
        partial(measure, zarr_work, ZARR_ROWS),
        quick=(),
    ),
    Case(
        "data_zarr_peak",
        "the same: growth of the main process",
        "MB",
        ("pardata",),
        partial(measure_peak, ZARR_ROWS),
        quick=(),
    ),
    Case(
        "data_hdf5",
        "sqrt of an HDF5 dataset of 256 MB, gzip, into another one; mp.Pool with files opened by hand",
        "s",
        ("pardata", "mp.Pool"),
        partial(measure, hdf5_work, HDF5_ROWS),
        quick=(),
    ),
    Case(
        "data_tiff",
        "sqrt of a TIFF stack of 200 MB, deflate, into a new TIFF file; executor with tifffile by hand",
        "s",
        ("pardata", "concurrent.futures"),
        partial(measure, partial(tiff_work, None), TIFF_ROWS),
        quick=(),
    ),
    Case(
        "data_tiff_deflate",
        "the same, the new file compressed, too",
        "s",
        ("pardata", "concurrent.futures"),
        partial(measure, partial(tiff_work, "zlib"), TIFF_ROWS // 3),
        quick=(),
    ),
)
