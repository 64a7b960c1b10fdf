#!/usr/bin/env bash
# numcodecs 0.16.6 with zarr 3.1.6: the NaN that NVIDIA's GPUs compute is read back as -0.0 from a rounded array.
#
# BitRound keeps some bits of the mantissa, so that data compress well; climate data and output of simulations are stored so. It
# takes the floats for integers and adds half of the last bit that it keeps. For most NaN that does no harm. Where all
# bits of the mantissa are set, the carry runs through the exponent into the sign: 0x7fffffff becomes 0x80000000, -0.0, and
# 0xffffffff becomes 0.0. 0x7fffffff is the only NaN that the single precision of CUDA has as a result, and
# bytes of 0xff are a usual filling for "no data". NumPy's own NaN is 0x7fc00000 and stays, so that a test with np.nan
# shows nothing. Missing values thus become a plausible number, for every number of bits kept, in float16, 32 and 64, without
# a warning. `np.where(np.isnan(x), np.nan, x)` before storing helps.
#
# Seen: [1.5, NaN of NumPy, NaN of CUDA, NaN of bytes 0xff] comes back as [1.5, nan, -0.0, 0.0].
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numcodecs==0.16.6 zarr==3.1.6 numpy==2.4.6

venv/bin/python -W ignore - <<'EOF'
import numcodecs
import numpy as np
import zarr

bits = np.array([0x3FC00000, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF], "u4")
values = bits.view("f4")
assert np.isnan(values).tolist() == [False, True, True, True]
stored = {}
for zarr_format, codec in {2: numcodecs.BitRound(10), 3: zarr.codecs.numcodecs.BitRound(keepbits=10)}.items():
    array = zarr.create_array(f"{zarr_format}.zarr", shape=4, dtype="f4", filters=[codec], zarr_format=zarr_format)
    array[:] = values
    stored[zarr_format] = zarr.open_array(f"{zarr_format}.zarr", mode="r")[:]
    print("format", zarr_format, stored[zarr_format].tolist())

lost = {}
for size, mantissa in {2: 10, 4: 23, 8: 52}.items():
    ones = np.array([2 ** (8 * size - 1) - 1], f"u{size}").view(f"f{size}")
    codecs = [numcodecs.BitRound(kept) for kept in range(1, mantissa)]
    lost[size] = all(not np.isnan(codec.decode(codec.encode(ones)))[0] for codec in codecs)
print("of 2, 4 and 8 bytes, all numbers of bits", lost)
expected = np.array([0x3FC00000, 0x7FC00000, 0x80000000, 0], "u4").tolist()
if any(array.view("u4").tolist() != expected for array in stored.values()) or not all(lost.values()):
    raise SystemExit("BitRound now keeps NaN.")
EOF
