#!/usr/bin/env bash
# JAX 0.10.2 (0.12.0.1 likewise), CPU: device_put(array, may_alias=False) shares the array's memory, if its address
# suits.
#
# The documentation says that with may_alias=False the array will be copied. On the CPU a NumPy array that starts at a
# multiple of 64 bytes is shared all the same, so that writing to it afterwards changes the JAX array, which is
# immutable. At any other address it is copied, with and without the option. NumPy aligns its own arrays to 16 bytes
# and large ones usually start 16 bytes after a page, so that a script which reuses its buffer is right until its
# arrays come from shared memory, a mapped file or an aligned allocator. jax.numpy.array, whose default is a copy,
# does copy.
#
# Seen: after the NumPy array's first value was set from 0 to 7, the JAX array's is 7 at offset 0 with may_alias=None
# and False, and 0 at offset 16 and for jax.numpy.array.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet "jax[cpu]==0.10.2" numpy==2.4.6

venv/bin/python - <<'EOF'
import jax
import jax.numpy as jnp
import numpy as np

memory = np.zeros(4096, np.uint8)
start = -memory.ctypes.data % 64


def value_after_a_write(offset, transfer):
    array = memory[start + offset:start + offset + 1024].view(np.float32)
    array[0] = 0
    result = jax.block_until_ready(transfer(array))
    array[0] = 7
    return int(result[0])


seen = {
    "default": value_after_a_write(0, jax.device_put),
    "may_alias=False": value_after_a_write(0, lambda array: jax.device_put(array, may_alias=False)),
    "may_alias=False, offset 16": value_after_a_write(16, lambda array: jax.device_put(array, may_alias=False)),
    "jnp.array": value_after_a_write(0, jnp.array),
}
expected = {"default": 7, "may_alias=False": 7, "may_alias=False, offset 16": 0, "jnp.array": 0}
print(seen)
if seen != expected:
    raise SystemExit("JAX now shares or copies NumPy arrays by other rules.")
EOF
