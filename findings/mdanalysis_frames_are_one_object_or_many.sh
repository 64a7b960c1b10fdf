#!/usr/bin/env bash
# MDAnalysis 2.11.0: whether kept frames stay what they were depends on the file's format.
#
# Iterating over a trajectory yields a Timestep. For an XYZ file it is always the same object with the same array of
# positions: a list of them shows frame 0 three times, since the reader rewinds at the end. For a DCD file, and for a
# trajectory in memory, each has its own array, and the same lines collect three frames. Converting the input, or the
# usual speed-up transfer_to_memory(), thus changes the result of a script. atoms.positions is a copy in each case.
#
# Seen: for the positions 0, 1, 2 in three frames [0, 0, 0] from XYZ, [0, 1, 2] from DCD and memory.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet MDAnalysis==2.11.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings

import MDAnalysis
import numpy as np

warnings.simplefilter("ignore")
model = MDAnalysis.Universe.empty(2, trajectory=True)
for name in ("f.xyz", "f.dcd"):
    with MDAnalysis.Writer(name, 2) as writer:
        for number in range(3):
            model.atoms.positions = np.full((2, 3), number)
            writer.write(model.atoms)


def collected(universe):
    frames = [step.positions for step in universe.trajectory]
    copies = [universe.atoms.positions for step in universe.trajectory]
    return [int(frame[0, 0]) for frame in frames], [int(frame[0, 0]) for frame in copies]


from_xyz = MDAnalysis.Universe("f.xyz")
seen = {"XYZ": collected(from_xyz), "DCD": collected(MDAnalysis.Universe("f.xyz", "f.dcd"))}
from_xyz.transfer_to_memory()
seen["memory"] = collected(from_xyz)
expected = {"XYZ": ([0, 0, 0], [0, 1, 2]), "DCD": ([0, 1, 2], [0, 1, 2]), "memory": ([0, 1, 2], [0, 1, 2])}
print(seen)
if seen != expected:
    raise SystemExit("MDAnalysis now reuses its frames differently.")
EOF
