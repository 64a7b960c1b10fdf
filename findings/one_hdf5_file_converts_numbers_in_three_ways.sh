#!/usr/bin/env bash
# h5py 3.16.0 and netCDF4 1.7.4: one assignment to one HDF5 variable of bytes stores three different things.
#
# NumPy wraps what does not fit (300 becomes 44 in uint8). Programs that write an array to a file of a smaller dtype expect
# that, or an error. h5py hands a NumPy array to the HDF5 library as it is, which converts by its own rules: numbers are cut
# to the nearest that fits (300 becomes 255, -1 becomes 0), a fraction is dropped, NaN becomes 0, infinity the largest
# number. A list of the same numbers is converted by NumPy first, and raises OverflowError. netCDF4, which writes the same
# HDF5 files, wraps as NumPy does, so 300 is stored as 44. Reading is the same: `read_direct` into a smaller array and
# `dataset.astype(...)` cut, `dataset[...].astype(...)` wraps. So a filter gives other images when its results are first
# put into a file, and NaN, which marked what is missing, is a black pixel. No error or warning tells.
#
# Seen, stored in uint8: array [300, -1, 2, 256] by h5py 255 0 2 255, by netCDF4 44 255 2 0, by astype 44 255 2 0; the list
# raises OverflowError; [300.7, -1.2, nan, inf] by h5py 255 0 0 255.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet h5py==3.16.0 netCDF4==1.7.4 numpy==2.4.6

venv/bin/python - <<'EOF'
import h5py
import netCDF4
import numpy as np

numbers = np.array([300, -1, 2, 256])
seen = {"NumPy": numbers.astype("u1")}

with h5py.File("h5py.h5", "w") as file:
    stored = file.create_dataset("stored", shape=4, dtype="u1")
    stored[:] = numbers
    seen["h5py, integers"] = stored[:]
    stored[:] = np.array([300.7, -1.2, np.nan, np.inf])
    seen["h5py, floats"] = stored[:]
    try:
        stored[:] = numbers.tolist()
        seen["h5py, list"] = stored[:]
    except OverflowError as error:
        print("h5py, list:", error)
    wide = file.create_dataset("wide", data=numbers)
    seen["h5py, astype"] = wide.astype("u1")[:]
    seen["h5py, read_direct"] = np.zeros(4, "u1")
    wide.read_direct(seen["h5py, read_direct"])

with netCDF4.Dataset("netcdf.nc", "w", format="NETCDF4") as file:
    file.createDimension("x", 4)
    variable = file.createVariable("stored", "u1", ("x",))
    variable.set_auto_maskandscale(False)
    variable[:] = numbers
with h5py.File("netcdf.nc") as file:  # the same format
    seen["netCDF4, integers"] = file["stored"][:]

seen = {name: found.tolist() for name, found in seen.items()}
for name, found in seen.items():
    print(f"{name:18} {found}")
cut, wrapped = [255, 0, 2, 255], [44, 255, 2, 0]
expected = {
    "NumPy": wrapped,
    "h5py, integers": cut,
    "h5py, floats": [255, 0, 0, 255],
    "h5py, astype": cut,
    "h5py, read_direct": cut,
    "netCDF4, integers": wrapped,
}
if seen != expected:
    raise SystemExit("numbers that do not fit are converted differently now")
EOF
