#!/usr/bin/env bash
# jax 0.10.2, and 0.12.0.1 on Python 3.12: a jitted function that was called once no longer refuses big-endian arrays.
#
# `jax.jit(f)(array)` raises TypeError for an array of ">f4", as jnp.asarray and device_put do. After one call with an
# array of the same kind and size in the machine's order the same function takes it, and reads its bytes in that order:
# 2 * [0, 1, 2] is [0, 0, 0] then. So a loop over files refuses the big-endian one if that comes first, and computes
# wrong numbers from it if it comes later. A masked array is refused first likewise, and loses its mask later.
#
# Seen: TypeError and ValueError from a new function; [0.0, 0.0, 0.0] and [0.0, 2.0, 4.0] from one that was called.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import jax
import numpy as np

native = np.arange(3, dtype="f4")
odd = [native.astype(">f4"), np.ma.array(native, mask=[0, 1, 0])]


def outcome(function, array):
    try:
        return np.asarray(function(array)).tolist()
    except (TypeError, ValueError) as error:
        return type(error).__name__


new = [outcome(jax.jit(lambda x: x * 2), array) for array in odd]
called = jax.jit(lambda x: x * 2)
called(native)
later = [outcome(called, array) for array in odd]
print("a new function:", new)
print("one that was called:", later)
if new != ["TypeError", "ValueError"] or later != [[0.0, 0.0, 0.0], [0.0, 2.0, 4.0]]:
    raise SystemExit("JAX now treats such arrays differently.")
PYTHON
