"""Denoise photographs, find their edges and measure them, on every core and in order.

                               ┌── find_edges ──┐
    paths ── read ── denoise ──┼── measure ─────┼── zip ── save ── a picture and a row of photos.csv
        │                      └────────────────┤
        └───────────────────────────────────────┘

Each stage is a process of its own; `denoise` and `save`, which take longest, are several. The photographs do not move
between them: a result of `denoise` lies in shared memory once, and `find_edges`, `measure` and `save` read it there.
A file that cannot be read is named and left out.

    python examples/photos.py                                  # the photographs that come with scikit-image
    python examples/photos.py --input ~/Pictures --workers 4
"""

import argparse
import csv
import sys
from functools import partial
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw, ImageFont, ImageOps
from skimage.color import rgb2gray
from skimage.filters import laplace, sobel
from skimage.restoration import denoise_tv_chambolle

import pardata

SUFFIXES = {".png", ".jpg", ".jpeg"}


def read(path):
    """The photograph in the file `path`: float32, shape (height, width, 3), values 0 to 1."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(upright, dtype=np.float32) / 255


def denoise(photo):
    """Smooth areas lose their noise, edges stay sharp (total variation, Chambolle 2004)."""
    return denoise_tv_chambolle(photo, weight=0.05, max_num_iter=30, channel_axis=-1)


def find_edges(photo):
    """The strength of the edges: float32, shape (height, width), values 0 to 1, faint ones lifted."""
    strength = sobel(rgb2gray(photo))
    return np.sqrt(strength / max(strength.max(), 1e-6))


def measure(photo):
    """Brightness (mean luminance) and sharpness (variance of the Laplacian, Pech-Pacheco 2000)."""
    gray = rgb2gray(photo)
    return float(gray.mean()), float(laplace(gray).var())


def save(output, item):
    """Write the photograph beside its edges, with a caption; return the photograph's row of the table."""
    path, photo, edges, (brightness, sharpness) = item
    height, width = edges.shape
    caption = f"{path.name}   {width} x {height}   brightness {brightness:.3f}   sharpness {sharpness:.5f}"
    annotate(np.hstack([photo, np.dstack([edges] * 3)]), caption).save(output / f"{path.name}.edges.png")
    return path.name, width, height, f"{brightness:.3f}", f"{sharpness:.5f}"


def annotate(pixels, caption):
    """A Pillow image of `pixels` with `caption` in a strip below."""
    picture = Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))
    size = max(12, picture.width // 48)
    font = ImageFont.load_default(size)
    canvas_width = max(picture.width, round(font.getlength(caption)) + size)
    canvas = Image.new("RGB", (canvas_width, picture.height + 2 * size), "white")
    canvas.paste(picture)
    ImageDraw.Draw(canvas).text((size // 2, picture.height + size), caption, fill="black", font=font, anchor="lm")
    return canvas


def build(paths, output, workers):
    """The graph drawn above; nothing runs yet."""
    names = pardata.source(paths)
    clean = names.map(read, errors="skip").map(denoise, workers=workers)
    edges = clean.map(find_edges)
    levels = clean.map(measure)
    return pardata.zip(names, clean, edges, levels).map(partial(save, output), workers=workers, name="save")


def main():
    parser = argparse.ArgumentParser(description="Denoise photographs, find their edges and measure them.")
    parser.add_argument("--input", type=Path, help="a folder of .png and .jpg files (default: those of scikit-image)")
    parser.add_argument("--output", type=Path, default=Path("photos-out"), help="where the results go: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="processes for each slow stage: %(default)s")
    parser.add_argument("--engine", choices=["processes", "threads", "serial"], default="processes")
    options = parser.parse_args()

    folder = options.input or Path(skimage.__file__).parent / "data"
    if not folder.is_dir():
        parser.error(f"{folder} is not a folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        parser.error(f"no .png or .jpg file in {folder}")
    options.output.mkdir(parents=True, exist_ok=True)

    table_path = options.output / "photos.csv"
    photos = build(paths, options.output, options.workers)
    with (
        photos.iterate(engine=options.engine, progress=True) as run,
        table_path.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file)
        table.writerow(["file", "width", "height", "brightness", "sharpness"])
        table.writerows(run)
        report = run.report()

    print(report)
    for skipped in report.skipped:
        print(f"could not read {paths[skipped.number].name}: {skipped.error}", file=sys.stderr)
    print(f"{len(paths) - len(report.skipped)} of {len(paths)} photographs are in {options.output}")


if __name__ == "__main__":
    main()
