#!/usr/bin/env bash
# polars 2.1.0, pyarrow 26.0.1, pandas 3.1.1: whether an integer is exact depends on a missing value in another row.
#
# All three hold 64-bit integers with missing values exactly. On the way to NumPy a single null turns the whole column
# to float64, so that 2**53 + 1, an identifier or a time in nanoseconds, becomes 2**53 without a warning; two keys
# that differ are equal afterwards. In pandas some functions that return integers elsewhere do the same to Int64:
# interpolate (also where nothing is missing), median, and a grouped median; sum, cumsum and shift stay exact. A chunk
# of a table without a null has another dtype than the next chunk.
#
# Seen: 9007199254740993 stays without a null; with one in another row it is 9007199254740992 in all three
# conversions.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet polars==2.1.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

big = 2**53 + 1
ways = {
    "polars": lambda values: pl.Series(values, dtype=pl.Int64).to_numpy(),
    "pyarrow": lambda values: np.asarray(pa.array(values, pa.int64())),
    "arrow to pandas": lambda values: pa.table({"a": pa.array(values, pa.int64())}).to_pandas()["a"].to_numpy(),
}
seen = {name: (int(way([big, 1])[0]), int(way([big, None])[0])) for name, way in ways.items()}
frame = pd.DataFrame({"a": pd.array([big, None], "Int64"), "b": [1, 2]})
seen["pandas interpolate"] = int(frame["a"].interpolate()[0])
seen["pandas median"] = int(frame.groupby("b")["a"].median()[1])
seen["pandas sum"] = int(frame.groupby("b")["a"].sum()[1])
expected = dict.fromkeys(ways, (big, big - 1)) | {
    "pandas interpolate": big - 1, "pandas median": big - 1, "pandas sum": big}
print(seen)
if seen != expected:
    raise SystemExit("Integers beside missing values are now converted differently.")
EOF
