#!/usr/bin/env bash
# nibabel 5.4.2: an image of labels that is loaded and saved again has no voxel of value 1 any more.
#
# A segmentation holds whole numbers in int16. get_fdata(), the usual way to its values, gives them as float64, still
# whole. Saved with the header that was loaded, which says int16, floats are spread over all 65,536 integers by
# a slope and an intercept, kept in float32; whether the values are whole, and fit as they are, is not looked at.
# Read again, 1 is 0.9999999997671694, so that `data == 1`, an index, or a table of regions finds nothing. How far it
# is off depends on the largest value in the image: beside a 3000, 1 is 1.0071 and 2 is 2.0142. Integers
# (get_fdata().astype("i2")) are saved as they are.
#
# Seen: labels 0 to 3 come back as 0, 0.9999999998, 1.9999999995, 2.9999999993, with 3000 for 3 as 1.0070954859 and
# 2.0141909719; from integers exact.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet nibabel==5.4.2 numpy==2.4.6

venv/bin/python - <<'EOF'
import nibabel
import numpy as np


def saved_again(labels, dtype):
    voxels = np.array(labels, "i2").reshape(1, 2, 2)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), "first.nii")
    first = nibabel.load("first.nii")
    assert first.get_fdata().ravel().tolist() == labels
    data = first.get_fdata().astype(dtype)
    nibabel.save(nibabel.Nifti1Image(data, first.affine, first.header), "second.nii")
    second = nibabel.load("second.nii")
    return second.get_data_dtype().name, second.get_fdata().ravel().round(10).tolist()


labels, outlier = [0, 1, 2, 3], [0, 1, 2, 3000]
seen = [saved_again(labels, "f8"), saved_again(outlier, "f8"), saved_again(labels, "i2"), saved_again(outlier, "i2")]
print(*seen, sep="\n")
expected = [
    ("int16", [0, 0.9999999998, 1.9999999995, 2.9999999993]),
    ("int16", [0, 1.0070954859, 2.0141909719, 3000.0001213700]), ("int16", labels), ("int16", outlier),
]
if seen != expected:
    raise SystemExit("nibabel now saves whole numbers in floats differently.")
EOF
