#!/usr/bin/env bash
# NumPy 2.4.6 (2.5.5 likewise): an array of StringDType has an nbytes without its text, and no buffer to share.
#
# Each element is 16 bytes in the array; strings of more than 15 bytes lie in a memory of their own, which no
# attribute counts. Tools that decide by nbytes (split, spill, share, "send by shared memory above 1 MB") see 16 kB
# where there is 1 MB. Protocol 5 of pickle, which hands the data of every other array without objects over out of
# band, hands over none and writes all the text into the stream, and memoryview is refused. dtype.hasobject is True,
# though the elements are no Python objects; np.array of the same text as fixed-width "U1000" is one buffer.
#
# Seen: nbytes 16000 for 1000 strings of 1000 characters, a pickle of more than 1 MB, no buffer; hasobject is True.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6

venv/bin/python - <<'EOF'
import pickle

import numpy as np

texts = ["x" * 1000] * 1000


def described(array):
    buffers = []
    stream = pickle.dumps(array, 5, buffer_callback=buffers.append)
    return array.nbytes, len(stream) > 1_000_000, len(buffers), array.dtype.hasobject


seen = described(np.array(texts, np.dtypes.StringDType())), described(np.array(texts, "U1000"))
expected = (16_000, True, 0, True), (4_000_000, False, 1, False)
print(seen)
if seen != expected:
    raise SystemExit("NumPy's string arrays now tell or pickle their text differently.")
EOF
