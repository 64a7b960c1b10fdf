#!/usr/bin/env bash
# joblib 1.6.0 with astropy 8.0.2: a cached function that is called with kilometres returns its result for metres.
#
# joblib.Memory finds a result by a hash of the arguments. Of an array it hashes the bytes, dtype, shape, strides and class.
# It does the same for subclasses of ndarray, and leaves out what else such an object has: the unit of a Quantity (also of a
# single number) and of the columns of a Table, also within a dict or a list, and any attribute of a subclass of one's own. Of
# a masked array with one byte a pixel it leaves out the mask; wider ones are a ValueError. The other result comes from
# the disk, maybe from weeks ago, without an error or a warning. What holds its array as an attribute, as NDData does,
# is hashed whole, and so does pickle see all of them.
#
# Seen: [1, 2] km in metres are [1, 2] after [1, 2] m were asked for; [1, 2, 3] with 1 masked has the sum of that with 3
# masked; right in the other order, too, if the cache is empty.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet joblib==1.6.0 astropy==8.0.2 numpy==2.4.6

venv/bin/python - <<'EOF'
import pickle

import joblib
import numpy as np
from astropy import units
from astropy.nddata import NDData
from astropy.table import Table


class Recording(np.ndarray):
    def __array_finalize__(self, other):
        self.rate = getattr(other, "rate", None)


def recording(unit):
    made = values.view(Recording)
    made.rate = {"m": 1, "km": 1000}[unit]
    return made


def hidden(pixels, *mask):
    return np.ma.array(pixels, mask=mask)


def in_metres(length):
    return length.to_value(units.m).tolist()


def total(pixels):
    return int(pixels.sum())


def cached(function, *arguments):
    memory = joblib.Memory("cache", verbose=0)
    memory.clear(warn=False)
    call = memory.cache(function)
    try:
        return [call(argument) for argument in arguments]
    except ValueError:
        return "ValueError"


values = np.array([1.0, 2.0])
pixels = np.array([1, 2, 3], "u1")
metres, kilometres = values * units.m, values * units.km
last, first = hidden(pixels, 0, 0, 1), hidden(pixels, 1, 0, 0)
seen = {
    "metres first": cached(in_metres, metres, kilometres),
    "kilometres first": cached(in_metres, kilometres, metres),
    "one number": cached(in_metres, 3 * units.m, 3 * units.km),
    "masks": cached(total, last, first),
    "masks, the other first": cached(total, first, last),
    "masks of float64": cached(total, hidden(values, 0, 1)),
}
makers = {
    "in a dict": lambda unit: {"length": values * units.Unit(unit)},
    "Table": lambda unit: Table({"length": values}, units=[unit]),
    "attribute": recording,
    "NDData": lambda unit: NDData(values, unit=unit),
}
same = {name: joblib.hash(make("m")) == joblib.hash(make("km")) for name, make in makers.items()}
same["pickle"] = pickle.dumps(metres) == pickle.dumps(kilometres)
print(*seen.items(), *same.items(), sep="\n")
if seen != {
    "metres first": [[1.0, 2.0], [1.0, 2.0]],
    "kilometres first": [[1000.0, 2000.0], [1000.0, 2000.0]],
    "one number": [3.0, 3.0],
    "masks": [3, 3],
    "masks, the other first": [5, 5],
    "masks of float64": "ValueError",
} or same != {"in a dict": True, "Table": True, "attribute": True, "NDData": False, "pickle": False}:
    raise SystemExit("joblib now tells arrays of other units and masks apart.")
EOF
