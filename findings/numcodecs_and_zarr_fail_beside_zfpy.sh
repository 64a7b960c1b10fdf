#!/usr/bin/env bash
# numcodecs 0.17.1 (0.16.6 on Python 3.11), zarr 3.4.2 (3.1.6) and zfpy 1.0.1.post0: zarr cannot be imported.
#
# numcodecs imports zfpy if it is there, and takes the parts of its version for numbers. The newest zfpy is a
# post-release, whose last part is "post0", so that `import numcodecs` raises ValueError, and with it `import zarr`,
# also for somebody who never asks for the ZFP codec. An optional codec that is absent, or too old, is passed over
# instead: one expects that a package which is merely installed cannot take another one away.
#
# Seen: both imports raise ValueError: invalid literal for int() with base 10: 'post0'.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet "numcodecs==0.17.1; python_version>='3.12'" "numcodecs==0.16.6; python_version<'3.12'" \
  "zarr==3.4.2; python_version>='3.12'" "zarr==3.1.6; python_version<'3.12'" zfpy==1.0.1.post0

venv/bin/python - <<'EOF'
import importlib

seen = []
for name in ("numcodecs", "zarr"):
    try:
        importlib.import_module(name)
        seen.append("imported")
    except ValueError as error:
        seen.append(str(error))
expected = ["invalid literal for int() with base 10: 'post0'"] * 2
print(seen)
if seen != expected:
    raise SystemExit("numcodecs or zarr can now be imported beside a post-release of zfpy.")
EOF
