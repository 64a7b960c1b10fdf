#!/usr/bin/env bash
# netCDF4 1.7.5.1 (netCDF-C 4.10.1): a quantized variable has zero for infinity, or NaN in every second place.
#
# createVariable(significant_digits=3) rounds values so that they compress well, in one of three modes. BitRound leaves
# infinity as it is. GranularBitRound, which makes the smallest files of the three, takes the number of bits from the
# logarithm of each value, and stores infinity as -0.0 and minus infinity as 0.0: what was log(0), a division by zero or an
# overflow is the most ordinary of numbers, with the wrong sign. BitGroom, the default, sets the bits that it drops
# to 0 and to 1 in turn, so infinity stays in one place and is NaN in the next: what becomes of a value depends on its place in
# the chunk. NaN stays NaN in all three. No error or warning tells, and only a reader with the array in memory can compare.
#
# Seen: [inf, inf, -inf, -inf, nan] is [inf, nan, -inf, nan, nan] from BitGroom, [-0.0, -0.0, 0.0, 0.0, nan] from
# GranularBitRound, and as it was from BitRound; with 1, 3 and 6 digits, float32 and float64.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet netCDF4==1.7.5.1.post1 numpy==2.4.6

venv/bin/python - <<'EOF'
import netCDF4
import numpy as np

inf, nan = np.inf, np.nan
values = np.array([inf, inf, -inf, -inf, nan])


def quantized(mode, digits, dtype):
    with netCDF4.Dataset("f.nc", "w") as file:
        file.createDimension("x", values.size)
        options = {"compression": "zlib", "significant_digits": digits, "quantize_mode": mode}
        file.createVariable("v", dtype, ("x",), **options)[:] = values
    with netCDF4.Dataset("f.nc") as file:
        return str(np.asarray(file["v"][:]).tolist())


seen = {}
for mode in ("BitGroom", "BitRound", "GranularBitRound"):
    seen[mode] = {quantized(mode, digits, dtype) for digits in (1, 3, 6) for dtype in ("f4", "f8")}
    print(f"{mode:17}", *seen[mode])
if seen != {
    "BitGroom": {str([inf, nan, -inf, nan, nan])},
    "BitRound": {str([inf, inf, -inf, -inf, nan])},
    "GranularBitRound": {str([-0.0, -0.0, 0.0, 0.0, nan])},
}:
    raise SystemExit("netCDF now quantizes infinity differently.")
EOF
