#!/usr/bin/env bash
# laspy 2.7.0: a point cloud can be pickled, but loading the pickle raises RecursionError, and so does copy.deepcopy.
#
# LasData and its point record look up unknown attributes in a part of themselves that does not exist yet while Python
# rebuilds them, and so ask for it without end. pickle.dumps gives no hint, so that a pool of processes sends the
# whole cloud and fails in the receiver. The record's .array is a structured NumPy array, which travels as expected,
# and so does the header. One expects that what can be pickled can be unpickled, all the more as deepcopy is the usual
# way to keep an original.
#
# Seen: RecursionError from loads and deepcopy for the cloud and its record; the array and the header come back.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet laspy==2.7.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import copy
import pickle

import laspy
import numpy as np

cloud = laspy.create(point_format=3, file_version="1.2")
cloud.x = np.arange(3.0)


def outcome(function, argument):
    try:
        function(argument)
        return "fine"
    except RecursionError:
        return "RecursionError"


parts = {"cloud": cloud, "record": cloud.points, "array": cloud.points.array, "header": cloud.header}
seen = {name: (outcome(pickle.loads, pickle.dumps(part)), outcome(copy.deepcopy, part)) for name, part in parts.items()}
expected = {name: ("RecursionError",) * 2 if name in ("cloud", "record") else ("fine",) * 2 for name in parts}
print(seen)
if seen != expected:
    raise SystemExit("laspy's objects are now pickled or copied differently.")
EOF
