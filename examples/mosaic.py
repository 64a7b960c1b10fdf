"""One large array, every core: `map_array` beside plain NumPy and `multiprocessing.Pool`.

A mosaic of photographs (float32, 0.5 GB unless told otherwise) is put into shared memory. Each way of computing
evens out the light of its rows and applies a smooth contrast curve, twice: at first much of the time goes into
memory that is new to the process. All results are checked to be equal.

    python examples/mosaic.py --gigabytes 2 --workers 4
"""

import argparse
import multiprocessing
import os
import time

import numpy as np
from skimage import data

import pardata

WIDTH = 512  # of the photographs used here, and of the mosaic
BLOCK_ROWS = 64  # 128 kB; measured: fewer and more take longer


def even_out(rows):
    """Each row to mean 0 and deviation 1, then a smooth contrast curve; shape (rows, width), float32."""
    level = rows.mean(axis=1, keepdims=True)
    spread = rows.std(axis=1, keepdims=True) + np.float32(1e-3)
    return np.tanh((rows - level) / spread)


def make_mosaic(gigabytes):
    """Photographs one below the other until `gigabytes` are full: float32, shape (n, WIDTH), in shared memory."""
    photographs = [photo() for photo in (data.camera, data.brick, data.grass, data.gravel, data.moon)]
    n_tiles = max(1, round(gigabytes * 1e9 / (4 * WIDTH * WIDTH)))
    mosaic = pardata.empty((n_tiles * WIDTH, WIDTH), np.float32)
    for tile in range(n_tiles):
        mosaic[tile * WIDTH : (tile + 1) * WIDTH] = photographs[tile % len(photographs)] / np.float32(255)
    return mosaic


def in_blocks(mosaic):
    """`even_out` on a few rows at a time, so that its intermediate results stay in the processor's cache."""
    result = np.empty_like(mosaic)
    for start in range(0, len(mosaic), BLOCK_ROWS):
        stop = start + BLOCK_ROWS
        result[start:stop] = even_out(mosaic[start:stop])
    return result


def timed(compute):
    """The seconds of a first and of a second call of `compute`, and its result."""
    seconds = []
    for _ in range(2):
        result = None  # the memory of the first result is free for the second
        start = time.perf_counter()
        result = compute()
        seconds.append(time.perf_counter() - start)
    return *seconds, result


def main():
    parser = argparse.ArgumentParser(description="Time one computation on a large array in several ways.")
    parser.add_argument("--gigabytes", type=float, default=0.5, help="size of the array: %(default)s")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes: %(default)s")
    options = parser.parse_args()

    mosaic = make_mosaic(options.gigabytes)
    print(f"{mosaic.nbytes / 1e9:.2f} GB in {len(mosaic)} rows of {WIDTH} float32, {options.workers} workers")

    rows = [
        ("NumPy, all at once", *timed(lambda: even_out(mosaic))),
        ("NumPy, in small blocks", *timed(lambda: in_blocks(mosaic))),
    ]
    chunks = np.array_split(mosaic, 4 * options.workers)
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        pool.map(even_out, [mosaic[:1]] * options.workers)  # start-up is not timed
        rows.append(("multiprocessing.Pool.map", *timed(lambda: np.concatenate(pool.map(even_out, chunks)))))
    with pardata.WorkerPool(options.workers) as pool:
        pool.map_array(even_out, mosaic[: options.workers])
        rows.append(("pardata.WorkerPool.map_array", *timed(lambda: pool.map_array(even_out, mosaic))))

    print(f"{'':30}{'first call':>12}{'second call':>13}{'NumPy = 1':>11}")
    for name, first_s, second_s, _ in rows:
        print(f"{name:30}{first_s:>10.2f} s{second_s:>11.2f} s{second_s / rows[0][2]:>11.2f}")
    different = [name for name, *_, result in rows if not np.array_equal(result, rows[0][3])]
    if different:
        raise SystemExit(f"not the result that NumPy gives: {', '.join(different)}")
    print("all results are equal")


if __name__ == "__main__":
    main()
