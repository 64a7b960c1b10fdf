#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg's libraries): seek(backward=True) lands behind the frame that was asked for, and its frames are lost.
#
# To read the frames from a time on, one seeks to the last key frame that is not behind it, and decodes; `backward`, the
# default, is said to look backward if there is no key frame at the time. In MP4 and Matroska the first packet is that
# key frame. In an MPEG transport stream (cameras, broadcasts) it is one that comes later, and in a program stream
# (.mpg, DVDs) it may be any before or behind it: a loop that decodes then begins with a later frame, without an error.
# Here each seek asks for the exact time of a key frame. Only the times of the frames that come tell that some are missing.
#
# Seen: mp4 and mkv 7 of 7 at the key frame; ts 7 of 7 behind it; mpg 8 of 22 behind it, 11 before it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy==2.4.6

venv/bin/python - <<'EOF' 2>/dev/null
from collections import Counter

import av
import numpy as np

picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def film(path):
    codec = "mpeg2video" if path.endswith(".mpg") else "libx264"
    with av.open(path, "w") as file:
        stream = file.add_stream(codec, rate=25, width=64, height=48, pix_fmt="yuv420p", options={"g": "10"})
        for number in range(70):
            frame = np.roll(picture, (number, 2 * number), (0, 1))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def landings(path):
    with av.open(path) as file:
        stream = file.streams.video[0]
        keys = [packet.pts for packet in file.demux(stream) if packet.size and packet.is_keyframe]
    found = Counter()
    for key in keys:
        with av.open(path) as file:
            stream = file.streams.video[0]
            file.seek(key, stream=stream, backward=True)
            first = next((packet.pts for packet in file.demux(stream) if packet.size), None)
        found["none" if first is None else "at" if first == key else "behind" if first > key else "before"] += 1
    return dict(found)


seen = {}
for ending in ("mp4", "mkv", "ts", "mpg"):
    film(f"film.{ending}")
    seen[ending] = landings(f"film.{ending}")
    print(ending, seen[ending])
is_exact = all(set(seen[ending]) == {"at"} for ending in ("mp4", "mkv"))
if not is_exact or not seen["ts"].get("behind") or set(seen["mpg"]) == {"at"}:
    raise SystemExit("Seeks of PyAV land elsewhere now.")
EOF
