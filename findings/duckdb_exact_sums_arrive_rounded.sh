#!/usr/bin/env bash
# DuckDB 2.0.1 (2026): the sum of a single integer, fetched as a NumPy array, is another integer.
#
# sum() of a BIGINT column is a 128-bit HUGEINT, so that it cannot overflow, and exact. NumPy has no such type, and
# fetchnumpy() and df() hand it over as float64: above 2**53 the last digits are gone, without a warning, although the
# value itself fits int64. The column selected as it is arrives as int64, exact even beside a NULL. DECIMAL, the type
# for exact amounts, becomes float64 in the same way. fetchall() gives Python's own exact integers and Decimals.
#
# Seen: 9007199254740993 is exact in fetchall() and in the plain column; its sum and its DECIMAL(18, 0) are
# 9007199254740992.0.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet duckdb==2.0.1 numpy==2.4.6 pandas==3.1.1

venv/bin/python - <<'EOF'
from decimal import Decimal

import duckdb

query = "select {} as a from (values (9007199254740993::bigint), (null)) t(i) where i is not null"
connection = duckdb.connect()
seen = {}
for expression in ("i", "sum(i)", "i::decimal(18, 0)"):
    array = connection.execute(query.format(expression)).fetchnumpy()["a"]
    frame = connection.execute(query.format(expression)).df()
    rows = connection.execute(query.format(expression)).fetchall()
    seen[expression] = rows[0][0], array.dtype.name, int(array[0]), int(frame["a"][0])
big = 2**53 + 1
expected = {
    "i": (big, "int64", big, big),
    "sum(i)": (big, "float64", big - 1, big - 1),
    "i::decimal(18, 0)": (Decimal(big), "float64", big - 1, big - 1),
}
print(seen)
if seen != expected:
    raise SystemExit("DuckDB now hands integers to NumPy differently.")
EOF
