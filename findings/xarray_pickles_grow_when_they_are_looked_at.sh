#!/usr/bin/env bash
# xarray 2026.9.0: looking at a variable once makes every later pickle of the opened file carry the whole variable.
#
# A dataset that was opened from a file is pickled as a recipe of about a kilobyte, which the receiving process opens
# for itself. Reading .values, or taking a mean, keeps the values in the dataset, and from then on pickle carries
# them, to every task. The result is the same, and nothing says which of the two happens: a print of one mean, or a
# plot, before the loop turns a run that sends file names into one that sends gigabytes. A selection made before stays
# a recipe. cache=False at opening keeps it so.
#
# Seen: below 5 kB before, above 8 MB after .values (8 MB of data), below 5 kB again with cache=False.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet xarray==2026.9.0 netCDF4==1.7.5.1.post1 numpy==2.4.6

venv/bin/python - <<'EOF'
import pickle

import numpy as np
import xarray as xr

xr.Dataset({"a": ("x", np.arange(1_000_000))}).to_netcdf("f.nc", engine="netcdf4")


def sizes(**options):
    with xr.open_dataset("f.nc", engine="netcdf4", **options) as data:
        before = len(pickle.dumps(data))
        data["a"].values.mean()
        return before, len(pickle.dumps(data))


default, uncached = sizes(), sizes(cache=False)
print("bytes before and after:", default, "with cache=False:", uncached)
seen = [size < 5_000 for size in default + uncached], default[1] > 8_000_000
expected = [True, False, True, True], True
if seen != expected:
    raise SystemExit("The size of a pickled xarray dataset now depends on other things.")
EOF
