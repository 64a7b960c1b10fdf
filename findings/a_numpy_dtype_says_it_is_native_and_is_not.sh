#!/usr/bin/env bash
# NumPy 2.4.6 and 2.5.5: `dtype.isnative` is True for a record whose numbers are of the other byte order.
#
# Readers of big-endian formats (FITS, IDL, radar and seismic headers) ask `isnative` before they hand an array to code
# that knows the machine's order only. For records NumPy looks at each field, but not into a field that is a
# small array, ("flux", ">f8", (2,)), as tables of spectra and of vectors have: such a field counts as native, and the
# record with it. The field by itself, as `array["flux"]`, says the truth again, and so does a field with a record in it.
# Who trusts the answer passes bytes on that mean other numbers; 1.0 becomes 3.03865e-319.
#
# Seen on a little-endian machine: isnative is True for the record and False for its field; reading its bytes as native
# gives 3.03865e-319 for 1.0.
set -euo pipefail

python3 -c 'import sys; sys.exit(sys.byteorder != "little")' || { echo "for little-endian machines"; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np

kinds = {
    "numbers": np.dtype([("flux", ">f8")]),
    "an array": np.dtype([("flux", ">f8", (2,))]),
    "an array, of the machine's order": np.dtype([("flux", "<f8", (2,))]),
    "a record": np.dtype([("inner", [("flux", ">f8")])]),
    "a record with an array": np.dtype([("inner", [("flux", ">f8", (2,))])]),
}
seen = {name: bool(kind.isnative) for name, kind in kinds.items()}
for name, native in seen.items():
    print(f"a field that is {name}: isnative is {native}")
table = np.zeros(3, kinds["an array"])
table["flux"] = 1.0
misread = table.view(kinds["an array, of the machine's order"])["flux"][0, 0]
print("its field by itself:", table["flux"].dtype.isnative, "- 1.0 read as the machine's:", misread)
expected = dict(zip(kinds, (False, True, True, False, True), strict=True))
if seen != expected or table["flux"].dtype.isnative or not 3e-319 < misread < 3.1e-319:
    raise SystemExit("isnative looks at fields differently now")
EOF
