"""The motion between the frames of a film, and its still background: windows, a reduce, two sinks in one run.

                            ┌── window(2) ── motion ── a row of video.csv each
    frames ── luminance ────┤
                            └── reduce(add) ── background.png

The film is read once, as a stream: it may be longer than the memory. Any file with frames that Pillow reads will do
(GIF, APNG, WebP, multi-page TIFF).

    python examples/video.py                                   # the short film that comes with scikit-image
    python examples/video.py --input film.gif --workers 4
"""

import argparse
import csv
from functools import partial
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageSequence

import pardata


def frames(path):
    """The frames of a film: uint8, shape (height, width, 3)."""
    with Image.open(path) as film:
        for frame in ImageSequence.Iterator(film):
            yield np.asarray(frame.convert("RGB"))


def luminance(frame):
    """Luminance after ITU-R BT.601: float32, shape (height, width), values 0 to 255."""
    return frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def motion(pair):
    """Mean absolute difference of two frames, and the share of the picture that changed visibly."""
    difference = np.abs(pair[1] - pair[0])
    return round(float(difference.mean()), 3), round(float((difference > 25).mean()), 3)


def add(total, frame):
    """Sum and number of the frames so far."""
    return total[0] + frame, total[1] + 1


def save_background(path, total):
    """The mean of all frames: the still parts are sharp in it."""
    Image.fromarray((total[0] / total[1]).round().astype(np.uint8)).save(path)


def main():
    parser = argparse.ArgumentParser(description="Measure the motion in a film, and show what stands still.")
    parser.add_argument("--input", type=Path, help="a film that Pillow reads (default: one of scikit-image's)")
    parser.add_argument("--output", type=Path, default=Path("video-out"), help="where the results go: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="processes for each slow stage: %(default)s")
    parser.add_argument("--engine", choices=["processes", "threads", "serial"], default="processes")
    options = parser.parse_args()
    path = options.input or Path(skimage.__file__).parent / "data" / "no_time_for_that_tiny.gif"
    if not path.is_file():
        parser.error(f"{path} is not a file")
    options.output.mkdir(parents=True, exist_ok=True)

    gray = pardata.source(partial(frames, path)).map(luminance, workers=options.workers)
    rows = []
    moving = gray.window(2).map(motion, workers=options.workers).to(rows)
    still = gray.reduce(add, (0, 0)).to(partial(save_background, options.output / "background.png"), name="background")
    print(pardata.run(moving, still, engine=options.engine))

    with open(options.output / "video.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["frame", "mean difference", "changed"])
        table.writerows((number, *row) for number, row in enumerate(rows, 1))
    most = max(range(len(rows)), key=rows.__getitem__, default=None)
    if most is not None:
        print(f"{len(rows) + 1} frames; most moves between frames {most} and {most + 1}: {rows[most][0]}")


if __name__ == "__main__":
    main()
