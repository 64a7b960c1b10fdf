#!/usr/bin/env bash
# scikit-image 0.26.0: the join of two segmentations joins segments that have nothing in common.
#
# join_segmentations(a, b) cuts an image so that two pixels are in one segment only if they are so in a and in b. It computes
# (greatest label of b + 1) * a + b in the dtype of the input. Labels are kept as uint8 or uint16 to save memory. 20 labels on
# each side are then too many for uint8, and 300 for uint16: the product wraps around, and pieces that differ in both inputs
# get the same label, or that of the background, 0. Segments are too few, sizes and means are those of mixtures. There is no
# error and no warning. The mappings that return_mapping=True adds belong to the wrapped labels and do not give the inputs
# back, as they do in the documentation's example.
#
# Seen: 20 stripes across 20 columns are 400 pieces as int64, and 256 as uint8, of which the mapping restores 64 % of the stripes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings

import numpy as np
from skimage.segmentation import join_segmentations

warnings.simplefilter("error")


def joined(count, dtype):
    """Stripes and columns of one pixel each: how many pieces their join has, and the part that the mapping restores."""
    stripes = np.repeat(np.arange(count, dtype=dtype)[:, None], count, axis=1)
    join, stripe_of, _ = join_segmentations(stripes, stripes.T, return_mapping=True)
    return len(np.unique(join)), float(np.mean(stripe_of[join] == stripes))


seen = {(count, dtype): joined(count, dtype) for count, dtype in
        [(16, "u1"), (20, "u1"), (20, "i8"), (256, "u2"), (300, "u2"), (300, "i8")]}
for (count, dtype), (pieces, restored) in seen.items():
    print(f"{count} x {count} as {dtype}: {pieces} pieces, {restored:.0%} restored")
expected = {(16, "u1"): (256, 1), (20, "u1"): (256, 0.64), (20, "i8"): (400, 1)}
expected |= {(256, "u2"): (65536, 1), (300, "u2"): (65536, seen[300, "u2"][1]), (300, "i8"): (90000, 1)}
if seen != expected or seen[300, "u2"][1] > 0.8:
    raise SystemExit("join_segmentations now has labels of another dtype.")
EOF
