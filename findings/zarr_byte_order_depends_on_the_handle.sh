#!/usr/bin/env bash
# zarr 3.4.2 (3.1.6 likewise): the dtype of a big-endian array depends on whether it was just created or opened.
#
# create_array(dtype=">i4") returns a handle that says >i4 and reads >i4. The same array, opened again, says and reads
# the machine's int32: in format 3 the byte order is a matter of a codec, and no part of the data type. Format 2 keeps
# it in both. The values are equal, their bytes are not: code that takes bytes or a checksum of what it reads, or
# compares dtypes to find out whether an array was replaced, works on the handle that wrote and fails on all others.
#
# Seen: format 3: >i4 when created, <i4 when opened; format 2: >i4 in both.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet "zarr==3.4.2; python_version>='3.12'" "zarr==3.1.6; python_version<'3.12'" numpy==2.4.6

venv/bin/python - <<'EOF'
import zarr

seen = {}
for number in (2, 3):
    made = zarr.create_array(f"{number}.zarr", shape=(3,), dtype=">i4", zarr_format=number)
    made[:] = [1, 2, 3]
    opened = zarr.open_array(f"{number}.zarr", mode="r")
    assert made[:].tolist() == opened[:].tolist()
    seen[number] = [array.dtype.newbyteorder("=").str != array.dtype.str for array in (made[:], opened[:])]
expected = {2: [True, True], 3: [True, False]}
print("format: is the created one, the opened one big-endian?", seen)
if seen != expected:
    raise SystemExit("zarr now treats the byte order differently.")
EOF
