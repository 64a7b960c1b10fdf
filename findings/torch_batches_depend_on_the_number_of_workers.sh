#!/usr/bin/env bash
# torch 2.14.1: items of several dtypes make a batch of other numbers as soon as DataLoader has worker processes.
#
# Without workers `default_collate` calls torch.stack, which finds a dtype that holds all items: uint8 and int64 make
# int64. In a worker it stacks into memory that is shared, and makes that of the dtype of the *first* item
# (`collate_tensor_fn`: `out = elem.new(storage)`). If torch allows the conversion, the other items are converted
# to it, and integers wrap around; if not, the same items are a TypeError. So `num_workers=1` in place of 0 changes values
# without a word, and which items are changed depends on the shuffled order.
#
# Seen: of [1] as uint8 and [300] as int64 the batch is [1, 300] without workers, and [1, 44] with one; 0.1 as float64
# behind a float32 comes back rounded; 0.5 behind an integer is a TypeError.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 numpy==2.5.5

cat >batches.py <<'EOF'
import torch
from torch.utils.data import DataLoader

PAIRS = {
    "uint8, int64": [torch.tensor([1], dtype=torch.uint8), torch.tensor([300])],
    "float32, float64": [torch.tensor([1.0]), torch.tensor([0.1], dtype=torch.float64)],
    "int64, float32": [torch.tensor([1]), torch.tensor([0.5])],
}


def batch_of(items, workers):
    try:
        [batch] = DataLoader(items, batch_size=2, num_workers=workers)
    except TypeError as error:
        return str(error).splitlines()[-1]
    return batch.flatten().tolist()


if __name__ == "__main__":
    found = {name: [batch_of(items, workers) for workers in (0, 1)] for name, items in PAIRS.items()}
    for name, (without, with_one) in found.items():
        print(f"{name}: {without} without workers, {with_one} with one")
    assert all(without != with_one for without, with_one in found.values()), "it is mended"
EOF
venv/bin/python -W ignore batches.py
