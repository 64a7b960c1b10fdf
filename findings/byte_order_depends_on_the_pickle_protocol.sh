#!/usr/bin/env bash
# NumPy 2.5.5 (2.4.6 on Python 3.11): a big-endian array comes back with another dtype from a pool than from pickle 5.
#
# An array of dtype >i4, as FITS and many instruments give it, is pickled in its byte order with protocol 5 if it is
# contiguous. With protocol 4 and below, and for a strided view with any protocol, the receiver swaps the bytes and
# calls the result <i4. The values are right, but .dtype, .tobytes() and everything that is computed from them
# (checksums, cache keys, files written with tofile) are not the sender's. Python's default protocol was 4 until 3.13
# and is 5 since 3.14; multiprocessing uses the default, so that the same program changes with the Python. np.dtype
# itself keeps its order in every protocol.
#
# Seen: >i4 becomes <i4 with protocols 2 to 4 and stays >i4 with 5; the strided view becomes <i4 with all; the dtype
# alone never changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet "numpy==2.5.5; python_version>='3.12'" "numpy==2.4.6; python_version<'3.12'"

venv/bin/python - <<'EOF'
import pickle

import numpy as np

array = np.arange(6, dtype=">i4")


def orders(thing):
    back = [pickle.loads(pickle.dumps(thing, protocol)) for protocol in range(2, 6)]
    return "".join(getattr(one, "dtype", one).str[0] for one in back)


seen = {"contiguous": orders(array), "strided": orders(array[::2]), "dtype": orders(array.dtype)}
expected = {"contiguous": "<<<>", "strided": "<<<<", "dtype": ">>>>"}
print(seen)
assert np.array_equal(pickle.loads(pickle.dumps(array, 4)), array)
if seen != expected:
    raise SystemExit("NumPy now pickles byte orders differently.")
EOF
