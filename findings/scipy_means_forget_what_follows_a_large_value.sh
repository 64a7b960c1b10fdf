#!/usr/bin/env bash
# SciPy 1.17.1, bottleneck 1.6.0: behind one pixel that says "no data" the mean filter of a constant image gives 0.
#
# uniform_filter keeps a running sum: it adds the value that enters the window and subtracts the one that leaves. A value of
# another magnitude, as the usual marks for missing ones are (-3.4e38 of rasters, 9.97e36 of netCDF, 1e20 of climate models),
# takes the place of all digits of the sum. When it is subtracted again, 0 is left, and everything to the end of the row is too
# low by what the window held: not only the pixels that have it in their window. Infinity leaves NaN to the end of the
# row. bottleneck's move_mean does the same. convolve1d with equal weights and gaussian_filter are right behind the
# pixel. An image in tiles, or an array in chunks, has another result for each way to cut it, however wide the overlap.
#
# Seen: a row of 100s with -3.4e38 at index 3, mean of 3: 100, 100, -1e38, -1e38, -1e38, 0, 0, 0 ... 0; in two parts that
# overlap by two, 100 again from the second part on.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scipy==1.17.1 bottleneck==1.6.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import bottleneck
import numpy as np
from scipy import ndimage


def rows(value):
    row = np.full(12, 100.0)
    row[3] = value
    return row


def parts(row):
    """The same filter on two parts that overlap by two, of which each gives what it has whole windows for."""
    return np.concatenate([ndimage.uniform_filter1d(row[:8], 3)[:7], ndimage.uniform_filter1d(row[6:], 3)[1:]])


means = {
    "uniform_filter1d": lambda row: ndimage.uniform_filter1d(row, 3),
    "uniform_filter": lambda row: ndimage.uniform_filter(np.tile(row, (5, 1)), 3)[2],
    "the same, float32": lambda row: ndimage.uniform_filter1d(row.astype("f4"), 3),
    "in two parts": parts,
    "move_mean": lambda row: bottleneck.move_mean(row, 3)[1:],
    "convolve1d": lambda row: ndimage.convolve1d(row, np.ones(3) / 3),
    "gaussian_filter1d": lambda row: ndimage.gaussian_filter1d(row, 1, radius=1),
}
behind = {}
for value in (-3.4028235e38, 9.96921e36, 1e20, np.inf):
    for name, mean in means.items():
        behind[value, name] = np.unique(mean(rows(value))[6:].round(6)).tolist()
        print(f"{value:14.7g} {name:18}", behind[value, name])

finite = {"in two parts": [0.0, 100.0], "convolve1d": [100.0], "gaussian_filter1d": [100.0]}
infinite = {"in two parts": [100.0, np.nan], "convolve1d": [100.0], "gaussian_filter1d": [100.0]}
for (value, name), values in behind.items():
    expected = finite.get(name, [0.0]) if np.isfinite(value) else infinite.get(name, [np.nan])
    if not np.array_equal(values, expected, equal_nan=True):
        raise SystemExit(f"{name} has another mean behind {value} now: {values}")
EOF
