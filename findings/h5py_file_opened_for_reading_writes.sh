#!/usr/bin/env bash
# h5py 3.16.0 with HDF5 2.0.0: a file opened with "r" is writable if the same process has it open for writing.
#
# HDF5 keeps one shared state per file and process, and gives each later handle the first one's rights.
# h5py.File(path, "r") then returns a handle whose mode is "r+" and which writes. In another process the same call
# raises, because of the file's lock. One expects "r" to be a promise, as it is for open(), np.memmap and zarr. In the
# reverse order (first "r", then "r+") the second call raises.
#
# Seen: mode "r+", and the value written through the "r" handle is in the file; the reverse order raises OSError.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet h5py==3.16.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import h5py

with h5py.File("f.h5", "w") as file:
    file["x"] = [1]
with h5py.File("f.h5", "r+"), h5py.File("f.h5", "r") as reader:
    mode = reader.mode
    reader["x"][0] = 2
with h5py.File("f.h5", "r") as reader:
    value = int(reader["x"][0])
    try:
        h5py.File("f.h5", "r+").close()
        reverse = "opened"
    except OSError:
        reverse = "OSError"
seen = mode, value, reverse
expected = "r+", 2, "OSError"
print(seen)
if seen != expected:
    raise SystemExit('An HDF5 file opened with "r" beside a writer now behaves differently.')
EOF
