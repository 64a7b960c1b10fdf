#!/usr/bin/env bash
# SciPy 1.17.1: a maximum filter over segments gives a number that no segment has, and four segments become one.
#
# Segments of large volumes (brains, maps of a country's parcels) have numbers of 64 bits, often of 17 or 18 digits. The functions
# of scipy.ndimage take and return int64 and uint64, but have the values in double precision on the way, which has 53 bits.
# That is expected of a mean; here it is also so for functions that only choose among the values: maximum, minimum, median
# and rank filters, grey dilation, and zoom, shift, rotate and map_coordinates with order=0, which are used for segments
# for that very reason. Numbers above 2**53 are rounded, those near each other to the same; the greatest one, a usual mark for
# "none", becomes 0, or the least of int64. There is no error or warning, the dtype is that of the input. What goes by
# index is exact: distance_transform_edt(return_indices=True), by which segments grow as well, ndimage.maximum and take.
#
# Seen: 864691135000000001, ...3, ...5 and ...7 are all 864691135000000000 after each of nine functions, uint64 and int64.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scipy==1.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings

import numpy as np
from scipy import ndimage

warnings.simplefilter("error")
base = 864_691_135_000_000_000
numbers = base + np.array([[1, 3], [5, 7]], "u8")
choosing = {
    "maximum": lambda image: ndimage.maximum_filter(image, 3),
    "minimum": lambda image: ndimage.minimum_filter(image, 3),
    "median": lambda image: ndimage.median_filter(image, 3),
    "rank": lambda image: ndimage.rank_filter(image, 0, 3),
    "dilation": lambda image: ndimage.grey_dilation(image, 3),
    "zoom": lambda image: ndimage.zoom(image, 2, order=0),
    "shift": lambda image: ndimage.shift(image, 1, order=0, mode="nearest"),
    "rotate": lambda image: ndimage.rotate(image, 90, order=0),
    "coordinates": lambda image: ndimage.map_coordinates(image, np.indices(image.shape), order=0),
}


def grown(image):
    nearest = ndimage.distance_transform_edt(image == 0, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


by_index = {
    "nearest": grown,
    "maximum of each": lambda image: np.array(ndimage.maximum(image, image, np.unique(image))),
    "take": lambda image: image.take([0, 0, -1, -1], axis=0),
}
found = {}
for dtype in ("u8", "i8"):
    image = numbers.astype(dtype).repeat(4, 0).repeat(4, 1)
    for name, function in (choosing | by_index).items():
        made = function(image)
        assert made.dtype == dtype
        found[dtype, name] = sorted({int(value) - base for value in made.ravel()})
        print(dtype, f"{name:16}", found[dtype, name])
none = [int(ndimage.maximum_filter(np.full((3, 3), np.iinfo(dtype).max), 3)[1, 1]) for dtype in ("u8", "i8")]
print("the greatest number:", none)
wrong = [found[key] != ([0] if key[1] in choosing else [1, 3, 5, 7]) for key in found]
if any(wrong) or none != [0, -(2**63)]:
    raise SystemExit("scipy.ndimage now has integers of 64 bits in another way.")
EOF
