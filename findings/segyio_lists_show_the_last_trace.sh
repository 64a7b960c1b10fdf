#!/usr/bin/env bash
# segyio 1.9.14: a list of a file's traces shows the last two, again and again, and a list of its headers the last.
#
# Slicing f.trace, and iterating it, reads in turn into two buffers, and f.header[:] into one header object. In a loop
# that uses each trace at once nothing is amiss; list(), a queue, a pool's map or any look-ahead of more than one sees
# values that were overwritten. f.iline, an iterator of the same look in the same file, gives new arrays.
# f.trace.raw[:] is one array of all.
#
# Seen: traces filled with 0, 1, 2, 3 give the list 2, 3, 2, 3; the inlines 1, 1, 2, 2 of the headers give 2, 2, 2, 2.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet segyio==1.9.14 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import segyio

spec = segyio.spec()
spec.format, spec.sorting, spec.samples, spec.ilines, spec.xlines = 1, 2, range(5), [1, 2], [1, 2]
with segyio.create("f.sgy", spec) as file:
    for number in range(4):
        file.trace[number] = np.full(5, number, "f4")
        file.header[number] = {segyio.su.iline: number // 2 + 1, segyio.su.xline: number % 2 + 1}
    file.bin.update(tsort=segyio.TraceSortingFormat.INLINE_SORTING)
with segyio.open("f.sgy") as file:
    seen = {
        "used at once": [int(trace[0]) for trace in file.trace[:]],
        "traces": [int(trace[0]) for trace in list(file.trace[:])],
        "headers": [int(header[segyio.su.iline]) for header in list(file.header[:])],
        "inlines": [line[:, 0].astype(int).tolist() for line in list(file.iline)],
        "raw": file.trace.raw[:][:, 0].astype(int).tolist(),
    }
expected = {"used at once": [0, 1, 2, 3], "traces": [2, 3, 2, 3], "headers": [2, 2, 2, 2], "raw": [0, 1, 2, 3],
            "inlines": [[0, 1], [2, 3]]}
print(seen)
if seen != expected:
    raise SystemExit("segyio now reuses its buffers differently.")
EOF
