#!/usr/bin/env bash
# pydicom 3.0.2: apply_modality_lut returns stored values as Hounsfield units, for CT images with many frames.
#
# An enhanced CT or MR image, the form in which current scanners store a volume as one file, has slope and intercept in
# its functional groups, one item for all frames or one for each. apply_modality_lut, the function that turns stored
# values into units, looks at the top level only, where an enhanced image has none. It then returns what it was given,
# without a warning, as it does for images that have no scale at all. Air at -1000 HU is 24, and a threshold at -500
# takes all of it for tissue. The same values in a file of the older kind, one image each, are scaled.
#
# Seen: [24, 1024] for the frames of the enhanced image, uint16, with one slope for all and with one for each; [-1000.0,
# 0.0], float64, for the older kind.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pydicom==3.0.2 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

VALUES = np.array([24, 1024], np.uint16)  # air and water, at a slope of 1 and an intercept of -1024


def transformation():
    inner, outer = Dataset(), Dataset()
    inner.RescaleSlope, inner.RescaleIntercept, inner.RescaleType = 1, -1024, "HU"
    outer.PixelValueTransformationSequence = [inner]
    return outer


def in_units(kind, frames, **scale):
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = kind, "1.2.3"
    image.Rows, image.Columns, image.SamplesPerPixel = 1, 2 // frames, 1
    if frames > 1:
        image.NumberOfFrames = frames
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelData = VALUES.tobytes()
    for name, value in scale.items():
        setattr(image, name, value)
    image.save_as("image.dcm", enforce_file_format=True)
    found = dcmread("image.dcm")
    made = apply_modality_lut(found.pixel_array, found)
    return made.ravel().tolist(), made.dtype.name


seen = [
    in_units(EnhancedCTImageStorage, 2, SharedFunctionalGroupsSequence=[transformation()]),
    in_units(EnhancedCTImageStorage, 2, PerFrameFunctionalGroupsSequence=[transformation(), transformation()]),
    in_units(CTImageStorage, 1, RescaleSlope=1, RescaleIntercept=-1024),
]
print(*seen, sep="\n")
if seen != [([24, 1024], "uint16"), ([24, 1024], "uint16"), ([-1000.0, 0.0], "float64")]:
    raise SystemExit("pydicom now scales the frames of enhanced images differently.")
EOF
