#!/usr/bin/env bash
# cloudpickle 3.1.3 on Python 3.11: loading the pickle of a NamedTemporaryFile deletes the file that is still open.
#
# cloudpickle pickles open text files by their contents, so a wrapper around one, which `tempfile` makes, is pickled as any
# object: class and attributes. To load it an object is made without its constructor, the wrapped file arrives as a
# copy in memory, and the wrapper's closer, which deletes the file, arrives with the path of the original. Loading ends in
# KeyError('file'), as the copy looks up an attribute before it has any. The error drops the half-made objects, and the
# closer deletes the file by its name when it is dropped: the original file, in the process that made it or in a worker
# that got it in a closure. Who has it open reads and writes on as before, everybody else finds no file.
# Standard pickle refuses the object before anything happens.
#
# Seen: TypeError from pickle, KeyError: 'file' from cloudpickle's loads; then the file is gone, its maker still writes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet cloudpickle==3.1.3

venv/bin/python - <<'EOF'
import os
import pickle
import tempfile

import cloudpickle

file = tempfile.NamedTemporaryFile("w+")
file.write("rows of a long measurement\n")
file.flush()
seen = []
for module in (pickle, cloudpickle):
    try:
        pickle.loads(module.dumps(file))
        error = "no error"
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    seen.append((module.__name__, error.split(":")[0], os.path.exists(file.name)))
    print(f"{module.__name__}: {error}; the file exists: {seen[-1][2]}")
file.write("more rows\n")
file.flush()
file.seek(0)
print("its maker still reads", file.read().split("\n"))
if seen != [("pickle", "TypeError", True), ("cloudpickle", "KeyError", False)]:
    raise SystemExit("temporary files are pickled differently now")
EOF
