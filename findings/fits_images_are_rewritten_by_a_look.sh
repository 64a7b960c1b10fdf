#!/usr/bin/env bash
# astropy 8.0.2: looking at an image of a FITS file that is open for update rewrites the file with other numbers' type.
#
# Telescopes store counts as 16-bit integers with BSCALE and BZERO, which make physical values of them. A program opens
# such a file with mode="update" to add a line to its header, and looks at the data on the way (their mean, a plot, or
# `print(hdu.data.dtype)`). At the first look astropy turns the integers into float32 in memory; when the file is closed
# it writes them: BITPIX 16 has become -32, the image twice as large, BSCALE and BZERO are gone, and the integers that the
# camera gave cannot be had again exactly. Without the look the file stays as it is. Images whose BZERO only makes the
# integers unsigned are written as they were. `scale_back=True` keeps the integers of a scaled image; nothing asks for it.
#
# Seen: BITPIX 16 -> -32, data of 800 kB -> 1600 kB, BSCALE 0.1 -> absent; untouched where nobody looked, where the image
# is of unsigned integers, and with scale_back=True.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet astropy==8.0.2 numpy==2.4.6

venv/bin/python - <<'EOF'
from pathlib import Path

import numpy as np
from astropy.io import fits

counts = np.arange(400_000, dtype=np.int64).reshape(500, 800) % 30_000


def image(path, dtype, scaled):
    fits.PrimaryHDU(counts.astype(dtype)).writeto(path)
    if scaled:
        with fits.open(path, mode="update", do_not_scale_image_data=True) as file:
            file[0].header["BSCALE"] = 0.1
            file[0].header["BZERO"] = 5.0


def state(path):
    header = fits.getheader(path)
    return header["BITPIX"], header.get("BSCALE"), round(Path(path).stat().st_size / 1000, -2)


def update(path, look, **options):
    before = state(path)
    with fits.open(path, mode="update", **options) as file:
        file[0].header["OBSERVER"] = "somebody"
        if look:
            file[0].data.mean()
    print(f"{path:14} {before} -> {state(path)}")
    return before == state(path)


for name in ("looked", "not_looked", "scaled_back"):
    image(f"{name}.fits", np.int16, scaled=True)
image("unsigned.fits", np.uint16, scaled=False)
unchanged = {
    "not looked at": update("not_looked.fits", look=False),
    "unsigned": update("unsigned.fits", look=True),
    "scale_back": update("scaled_back.fits", look=True, scale_back=True),
}
changed = not update("looked.fits", look=True)
if not changed or not all(unchanged.values()) or state("looked.fits")[:2] != (-32, None):
    raise SystemExit(f"a look at a scaled image of an open file has other consequences now: {unchanged}")
EOF
