#!/usr/bin/env bash
# Zarr-Python 3.1.5 and TensorStore 0.1.86: an array that is made shorter and longer again shows values that were cut off.
#
# Programs that append make an array shorter to take back what an interrupted step had written, and longer to go on. What
# is beyond the new end is expected to be gone, and what is added to be the fill value: HDF5 does so (h5py 3.16.0). A Zarr
# array deletes only the chunks that lie wholly beyond the new end. The chunk in which the end lies keeps its file as it
# is, so up to one chunk (with sharding, one shard) of old values is there again as soon as the array grows, whichever
# library makes it grow and whenever. After `resize` and `append` they follow directly behind the values appended, so the
# end of the data looks like data. It is the same in Zarr formats 2 and 3, and no error or warning tells.
#
# Seen: of 0..9 in chunks of 4, made 6 long and 10 long again, 6 and 7 are back, 8 and 9 are the fill value, -1; from HDF5
# all four are -1. Made 5 long, appended 100 and 101, then 8 long: [0 1 2 3 4 100 101 7].
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet zarr==3.1.5 tensorstore==0.1.86 h5py==3.16.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import h5py
import numpy as np
import tensorstore
import zarr

values = np.arange(10, dtype="i4")


def zarr_array(name, **options):
    array = zarr.create_array(name, shape=(10,), dtype="i4", fill_value=-1, **options)
    array[:] = values
    return array


def shorter_and_longer(array, shorter=6):
    array.resize((shorter,))
    array.resize((10,))
    return array[:].tolist()


seen = {f"format {n}": shorter_and_longer(zarr_array(f"{n}.zarr", chunks=(4,), zarr_format=n)) for n in (2, 3)}
seen["shards"] = shorter_and_longer(zarr_array("shards.zarr", chunks=(2,), shards=(10,)), shorter=3)

spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": "store.zarr"}}
layout = tensorstore.ChunkLayout(chunk_shape=[4])
store = tensorstore.open(
    spec, create=True, dtype=tensorstore.int32, shape=[10], fill_value=-1, chunk_layout=layout
).result()
store[:] = values
for length in (6, 10):
    store = store.resize(exclusive_max=[length]).result()
seen["TensorStore"] = store.read().result().tolist()

with h5py.File("file.h5", "w") as file:
    dataset = file.create_dataset("data", data=values, chunks=(4,), maxshape=(None,), fillvalue=-1)
    seen["HDF5"] = shorter_and_longer(dataset)

appended = zarr_array("appended.zarr", chunks=(4,))
appended.resize((5,))
appended.append(np.array([100, 101], dtype="i4"))
appended.resize((8,))
seen["appended"] = appended[:].tolist()

for name, found in seen.items():
    print(f"{name:12} {found}")
old = [0, 1, 2, 3, 4, 5, 6, 7, -1, -1]
expected = {
    "format 2": old,
    "format 3": old,
    "shards": seen["shards"],
    "TensorStore": old,
    "HDF5": [0, 1, 2, 3, 4, 5, -1, -1, -1, -1],
    "appended": [0, 1, 2, 3, 4, 100, 101, 7],
}
if seen != expected or seen["shards"][3:] == [-1] * 7:
    raise SystemExit("what is cut off is treated differently now")
EOF
