#!/usr/bin/env bash
# xarray 2026.9.0 with netCDF4 1.7.5.1 and zarr 3.4.2 (3.1.6): a fill value that occurs nowhere changes the data.
#
# If a variable declares _FillValue, as many writers do, xarray opens it as float, to put NaN for missing values. An
# int64 variable becomes float64 whether or not a value is missing, and 2**53 + 1 is read as 2**53, without a warning.
# Small integer types keep their values in a wider float. netCDF4 itself returns a masked int64 array with exact
# values, and h5py and zarr the array; so does xarray with mask_and_scale=False.
#
# Seen: 9007199254740993 is read as 9007199254740992.0 from both formats, exact with mask_and_scale=False and by
# netCDF4.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet "zarr==3.4.2; python_version>='3.12'" "zarr==3.1.6; python_version<'3.12'" \
  xarray==2026.9.0 netCDF4==1.7.5.1.post1 numpy==2.4.6

venv/bin/python - <<'EOF'
import netCDF4
import numpy as np
import xarray as xr

data = xr.Dataset({"a": ("x", np.array([2**53 + 1, 5]))})
data["a"].encoding["_FillValue"] = -1
data.to_netcdf("f.nc", engine="netcdf4")
data.to_zarr("f.zarr", consolidated=False)


def first(**options):
    with xr.open_dataset(**options) as opened:
        return opened["a"].dtype.name, int(opened["a"].values[0])


formats = {"netCDF": {"filename_or_obj": "f.nc", "engine": "netcdf4"},
           "zarr": {"filename_or_obj": "f.zarr", "engine": "zarr", "consolidated": False}}
seen = {name: (first(**options), first(**options, mask_and_scale=False)) for name, options in formats.items()}
with netCDF4.Dataset("f.nc") as file:
    seen["netCDF4 itself"] = int(file["a"][0])
expected = dict.fromkeys(formats, (("float64", 2**53), ("int64", 2**53 + 1))) | {"netCDF4 itself": 2**53 + 1}
print(seen)
if seen != expected:
    raise SystemExit("xarray now reads integers with a fill value differently.")
EOF
