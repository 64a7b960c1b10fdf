#!/usr/bin/env bash
# xarray 2026.9.0 with netCDF4 1.7.5.1: a save of two files, put together, changes the values of the second one.
#
# Files of measurements are often packed: an int16 with a scale that suits the values of that file. xarray remembers how
# a variable was packed (`encoding`), and drops that in arithmetic; but `concat`, `open_mfdataset`, `copy(data=)` and
# an assignment to `.values` keep it, of several files that of the first. What it has no numbers for wraps around at the
# next save: 300.0 is read as -27.68. There is no error, and with a fill value in the packing no warning. In memory all
# values are right, so nothing shows before the file is read again. `drop_encoding()` before the save helps.
#
# Seen: [1, 2, 30] and [10, 20, 300], each in its own scale, are one file of [1, 2, 30, 10, 20, -27.68]; 10 * the first
# file is right, and so is all behind drop_encoding().
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet xarray==2026.9.0 netCDF4==1.7.5.1.post1 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings

import numpy as np
import xarray as xr


def saved(data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.to_dataset(name="t").to_netcdf("made.nc")
    with xr.open_dataset("made.nc") as opened:
        return opened["t"].values.round(3).tolist(), len(caught)


for number, (values, scale) in enumerate([([1.0, 2.0, 30.0], 0.001), ([10.0, 20.0, 300.0], 0.01)]):
    packing = {"dtype": "i2", "scale_factor": scale, "_FillValue": -32768}
    xr.Dataset({"t": ("x", values)}).to_netcdf(f"{number}.nc", encoding={"t": packing})
first, second = (xr.open_dataset(f"{number}.nc")["t"].load() for number in range(2))
whole = xr.concat([first, second], "x")
seen = {
    "in memory": (whole.values.round(3).tolist(), 0),
    "concat": saved(whole),
    "copy": saved(first.copy(data=first.values * 10)),
    "arithmetic": saved(first * 10),
    "drop_encoding": saved(whole.drop_encoding()),
}
for name, found in seen.items():
    print(f"{name}: {found[0]}, {found[1]} warnings")
right = [1.0, 2.0, 30.0, 10.0, 20.0, 300.0]
expected = {
    "in memory": (right, 0),
    "concat": ([1.0, 2.0, 30.0, 10.0, 20.0, -27.68], 0),
    "copy": ([10.0, 20.0, -27.68], 0),
    "arithmetic": ([10.0, 20.0, 300.0], 0),
    "drop_encoding": (right, 0),
}
if seen != expected:
    raise SystemExit("xarray now packs what it puts together differently.")
EOF
