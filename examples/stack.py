"""A stack of images larger than the memory that may be used: from one .npy file to another, with `map_array`.

Photographs that wander over the frame, with hot pixels, are written to a file as a film. Every frame of the
result is the median of itself and its two neighbours, which removes them: the workers read their frames (one more on
each side, `halo=1`) from the file, and write into the file of the result. None of it passes through the main process.

    python examples/stack.py --frames 2000 --limit 64
"""

import argparse
import os
import tempfile
import time

import numpy as np
from skimage import data

import pardata

SIZE = 256  # pixels, of a frame's sides


def film(path, frames):
    """Write the film; return it as it is in the file: uint8, shape (frames, SIZE, SIZE)."""
    photograph = data.camera()
    random = np.random.default_rng(0)
    stack = np.lib.format.open_memmap(path, "w+", np.uint8, (frames, SIZE, SIZE))
    for number in range(frames):
        at = int(128 + 100 * np.sin(number / 200))
        stack[number] = photograph[at : at + SIZE, at : at + SIZE]
        hot = random.integers(0, SIZE, (2, 500))
        stack[number, hot[0], hot[1]] = 255
    stack.flush()
    return np.load(path, mmap_mode="r")


def denoise(frames):
    """The median of each frame and its neighbours in time; the first and the last have one only."""
    before = np.concatenate([frames[:1], frames[:-1]])
    behind = np.concatenate([frames[1:], frames[-1:]])
    least, most = np.minimum(before, behind), np.maximum(before, behind)
    return np.clip(frames, least, most)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--limit", type=int, default=64, help="megabytes of shared memory that may be used")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        stack = film(os.path.join(folder, "film.npy"), options.frames)
        print(f"film: {stack.nbytes / 1e6:.0f} MB on disk, {options.limit} MB of shared memory allowed")
        with pardata.WorkerPool(options.workers, memory_limit=options.limit * 10**6) as pool:
            begin = time.perf_counter()
            result = pool.map_array(denoise, stack, halo=1, out=os.path.join(folder, "clean.npy"))
            print(f"denoised in {time.perf_counter() - begin:.2f} s on {options.workers} workers")
            print(f"chunks: {pool.statistics()['chunks'][-1]}")
        for number in (0, options.frames // 2, options.frames - 1):
            around = np.array(stack[max(0, number - 1) : number + 2])
            assert np.array_equal(result[number], denoise(around)[min(1, number)])
        white = [float((frames[:: options.frames // 20] == 255).mean()) for frames in (stack, result)]
        print(f"white pixels: {white[0]:.2%} before, {white[1]:.2%} after; the frames looked at are right")


if __name__ == "__main__":
    main()
