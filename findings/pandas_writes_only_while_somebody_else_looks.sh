#!/usr/bin/env bash
# pandas 3.1.1 (2026): a frame over read-only memory can be changed only while another view of it exists.
#
# pickle protocol 5 with out-of-band buffers, which dask, Ray and shared-memory libraries use, may lay a DataFrame
# over memory that must not be written. df.iloc[0, 0] = x and df.loc[0, "a"] = x then raise ValueError, "assignment
# destination is read-only". With a variable in scope that holds df[:], unused, the same statement succeeds:
# copy-on-write sees a second owner and copies first. Without one it takes the memory for its own and does not ask
# whether it may be written. df["a"] += x always works, and after it df.iloc[0, 0] = x too. One expects that a copy is
# made whenever the memory cannot be written, or never.
#
# Seen: iloc and loc raise; with another view both succeed, as they do after +=; the memory below is never changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pandas==3.1.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import pickle

import numpy as np
import pandas as pd

buffers = []
data = pickle.dumps(pd.DataFrame({"a": np.arange(5.0), "b": np.arange(5.0)}), 5, buffer_callback=buffers.append)
frozen = [bytes(buffer) for buffer in buffers]


def outcome(change, prepare=lambda frame: None):
    frame = pickle.loads(data, buffers=frozen)
    other = prepare(frame)  # noqa: F841, it lives until the function ends
    try:
        change(frame)
    except ValueError as error:
        return str(error)
    return float(frame["a"][0])


def by_iloc(frame):
    frame.iloc[0, 0] = 9


def by_loc(frame):
    frame.loc[0, "a"] = 9


def add(frame):
    frame["a"] += 1


def view(frame):
    return frame[:]


seen = [outcome(by_iloc), outcome(by_loc), outcome(by_iloc, view), outcome(by_loc, view), outcome(by_iloc, add)]
expected = ["assignment destination is read-only"] * 2 + [9.0] * 3
print(seen)
if seen != expected:
    raise SystemExit("pandas now treats frames over read-only memory differently.")
EOF
