#!/usr/bin/env bash
# numcodecs 0.16.6 (0.17.1 likewise), blosc2 4.14.1, imagecodecs: decoders write into arrays that are marked
# read-only.
#
# The argument for the result (out=, dst=) may be an array with writeable=False: its content is replaced without an
# error. NumPy's own functions, and numcodecs.Zlib in the same package, raise ValueError ("output array is
# read-only"). The mark is what keeps an array safe that several owners share: a cached result, another process's
# input, a mapped file. (Where the pages themselves are protected, as for a file that is mapped for reading, the same
# call ends the process.)
#
# Seen: written by numcodecs' Blosc, LZ4 and Zstd, blosc2.decompress2, SChunk.get_slice and imagecodecs.png_decode;
# refused by numcodecs.Zlib.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numcodecs==0.16.6 blosc2==4.14.1 imagecodecs==2026.3.6 numpy==2.4.6

venv/bin/python - <<'EOF'
import blosc2
import imagecodecs
import numcodecs
import numpy as np

new = np.arange(64, dtype=np.uint8).reshape(8, 8) + 1


def outcome(decode):
    frozen = np.zeros((8, 8), np.uint8)
    frozen.flags.writeable = False
    try:
        decode(frozen)
    except ValueError:
        return "refused"
    return "written" if np.array_equal(frozen, new) else "left"


codecs = [numcodecs.Zlib(), numcodecs.Blosc(), numcodecs.LZ4(), numcodecs.Zstd()]
seen = {type(one).__name__: outcome(lambda out, one=one: one.decode(one.encode(new), out=out)) for one in codecs}
seen["decompress2"] = outcome(lambda out: blosc2.decompress2(blosc2.compress2(new), dst=out))
seen["get_slice"] = outcome(lambda out: blosc2.SChunk(data=new).get_slice(out=out))
seen["png_decode"] = outcome(lambda out: imagecodecs.png_decode(imagecodecs.png_encode(new), out=out))
expected = dict.fromkeys(seen, "written") | {"Zlib": "refused"}
print(seen)
if seen != expected:
    raise SystemExit("The decoders now treat read-only outputs differently.")
EOF
