#!/usr/bin/env bash
# NumPy 2.4.6 with unyt 3.1.0 and astropy 7.2.0: the pickle of a masked array loses the unit of the array under its mask.
#
# `np.ma.masked_array` takes arrays of a subclass, and keeps them as such: `masked.data` is a `unyt_array` in km or a
# `Quantity` in m. copy and deepcopy keep the unit. Pickle writes the class of the data, the numbers and the mask, and none of
# the attributes that the subclass has, so after a worker, a cache or a queue the same lengths are dimensionless,
# or of a unit that says it was never set. The type is still right, and arithmetic goes on: 1 km + the sum of what
# arrived is no error where it is multiplied, and a number 1,000 times too small where it is compared as a plain number.
#
# Seen: km -> dimensionless (unyt); m -> no unit (astropy); km and m with copy.deepcopy.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 unyt==3.1.0 astropy==7.2.0

venv/bin/python - <<'EOF'
import copy
import pickle

import numpy as np
import unyt
from astropy import units


def unit_of(masked):
    data = masked.data
    if isinstance(data, unyt.unyt_array):
        return str(data.units)
    return str(data.unit)


lengths = {"unyt": unyt.unyt_array([1.0, 2.0], "km"), "astropy": np.array([1.0, 2.0]) * units.m}
seen = {}
for name, array in lengths.items():
    masked = np.ma.masked_array(array, [False, True])
    again = pickle.loads(pickle.dumps(masked))
    seen[name] = (unit_of(masked), unit_of(copy.deepcopy(masked)), unit_of(again), type(again.data) is type(array))
    print(f"{name}: {seen[name][0]!r}, after deepcopy {seen[name][1]!r}, after pickle {seen[name][2]!r}")
    print("   ", repr(again.data))
if seen != {"unyt": ("km", "km", "dimensionless", True), "astropy": ("m", "m", "None", True)}:
    raise SystemExit(f"units under a mask are pickled differently now: {seen}")
EOF
