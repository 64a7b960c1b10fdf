"""Cells in a film of a microscope, from an OME-TIFF file to a table: denoise, segment, measure.

The film, written first, shows cells that move, with the noise of few photons; its images are compressed. A process
reads and decompresses them, two others denoise, and what they made goes to two readers: one writes it to a new TIFF
file, the other finds the cells. The table has a row for each cell in each frame.

    pip install -e ".[examples,tiff]"
    python examples/microscopy.py --frames 100 --output cells
"""

import argparse
import csv
import os
import tempfile

import numpy as np
import tifffile
from skimage import filters, measure, segmentation

import pardata

SIZE, RADIUS = 256, 9  # pixels


def film(path, frames, cells):
    """Write the film: uint16, axes TYX, one image for each of `frames` times."""
    random = np.random.default_rng(0)
    places, steps = random.uniform(30, SIZE - 30, (cells, 2)), random.uniform(-0.5, 0.5, (cells, 2))
    y, x = np.mgrid[:SIZE, :SIZE]

    def images():
        for time in range(frames):
            light = np.full((SIZE, SIZE), 3.0)
            for row, column in places + time * steps:
                light += 20 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (RADIUS**2))
            yield random.poisson(light).astype(np.uint16)

    tifffile.imwrite(
        path, images(), shape=(frames, SIZE, SIZE), dtype=np.uint16, ome=True, compression="zlib",
        metadata={"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"},
    )  # fmt: skip


def denoise(image):
    """Take the noise of photons out, whose variance is the light: the square root has the same everywhere."""
    return (filters.gaussian(np.sqrt(image), 2) ** 2).astype(np.float32)


def find_cells(image):
    """Return a table of the cells: label, area, place and light, one array for each column."""
    mask = image > filters.threshold_otsu(image)
    labels = segmentation.clear_border(measure.label(mask))
    return measure.regionprops_table(labels, image, properties=("label", "area", "centroid", "intensity_mean"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", help="a folder that is made for the film without noise and the table")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        output = options.output or os.path.join(folder, "cells")
        os.makedirs(output)
        film(f"{folder}/film.ome.tif", options.frames, options.cells)

        images = pardata.source(pardata.open(f"{folder}/film.ome.tif"))
        clean = images.map(denoise, workers=options.workers)
        tables = []
        report = pardata.run(
            clean.to(f"{output}/clean.tif", compression="zlib"),
            clean.map(find_cells).to(tables),
        )
        print(report)

        with open(f"{output}/cells.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["frame", *tables[0]])
            for frame, table in enumerate(tables):
                writer.writerows((frame, *row) for row in zip(*table.values(), strict=True))
        found = [len(table["label"]) for table in tables]
        print(f"{sum(found)} cells in {len(found)} frames, {min(found)} to {max(found)} in each")


if __name__ == "__main__":
    main()
