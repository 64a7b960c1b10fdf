#!/usr/bin/env bash
# astropy 8.0.2: a FITS table that is converted to the machine's byte order has other values in its unsigned columns.
#
# FITS stores numbers big-endian, which pandas, numba, torch and Cython code refuse. The usual remedy is to convert the
# table: `data.astype(data.dtype.newbyteorder("="))`. The result is an FITS_rec as before, with the same names of columns
# and the same types of Python; but the scales of its columns are gone. FITS has no unsigned integers: it stores them as
# signed ones with TZERO, so after the conversion every value of such a column is 2**15 (2**31, 2**63) too low, and scaled
# columns have the numbers that were stored. There is no error and no warning. A copy, a selection, a sort, a pickle, and
# `astype` to the same dtype keep the scales. Each column by itself, `data["counts"].astype(...)`, is right.
#
# Seen: counts [0, 1, 60000] -> [-32768, -32767, 27232], rate [10.0, 10.5, 11.0] -> [0, 1, 2]; flux the same.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet astropy==8.0.2 numpy==2.4.6

venv/bin/python - <<'EOF'
import pickle
import warnings

import numpy as np
from astropy.io import fits

warnings.simplefilter("error")
columns = [
    fits.Column("counts", "I", bzero=32768, array=np.array([0, 1, 60000], "u2")),
    fits.Column("rate", "I", array=np.arange(3, dtype="i2")),
    fits.Column("flux", "E", array=np.array([1.5, 2.5, 3.5], "f4")),
]
fits.BinTableHDU.from_columns(columns).writeto("table.fits")
with fits.open("table.fits", mode="update") as file:
    file[1].header["TSCAL2"] = 0.5
    file[1].header["TZERO2"] = 10.0


def read():
    return fits.getdata("table.fits")


def native(table):
    return table.astype(table.dtype.newbyteorder("="))


def values(table):
    return {name: table[name].tolist() for name in ("counts", "rate", "flux")}


stored = values(read())
ways = {
    "copy": lambda table: table.copy(),
    "selection": lambda table: table[np.array([True] * 3)],
    "pickle": lambda table: pickle.loads(pickle.dumps(table)),
    "astype, same dtype": lambda table: table.astype(table.dtype),
    "astype, native": native,
}
for name, way in ways.items():
    print(f"{name:20}", values(way(read())))
changed = [name for name, way in ways.items() if values(way(read())) != stored]
by_column = read()["counts"].astype("u2").tolist()
if changed != ["astype, native"] or values(native(read()))["counts"] != [-32768, -32767, 27232] or by_column[2] != 60000:
    raise SystemExit(f"conversions of a FITS table do something else now: {changed}, {stored}")
EOF
