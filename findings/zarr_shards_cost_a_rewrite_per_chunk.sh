#!/usr/bin/env bash
# zarr 3.4.2 (3.1.6 likewise): filling a shard chunk by chunk writes half the number of its chunks times its size.
#
# A shard of 64 chunks of 16 KiB is 1 MiB, and takes 1 MiB of writing when it is assigned at once. Assigned chunk by
# chunk, aligned with array.chunks, each assignment reads what is there and writes all of it again: 1 + 2 + ... + 64
# chunks. The cost grows with the square of the chunks per shard, of which there may be thousands. Nothing of it shows
# in the API, in which a loop over the chunks looks the same with and without shards. Reading row by row costs a chunk
# per row, as without shards. Counted as bytes handed to write calls (wchar of /proc/self/io), not as time.
#
# Seen: 1.0 MiB at once and 32.6 MiB chunk by chunk; without shards 1.0 MiB either way.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet \
    "zarr==3.4.2; python_version>='3.12'" "zarr==3.1.6; python_version<'3.12'" numpy==2.4.6

venv/bin/python - <<'EOF'
import zarr

mebibyte = 2**20


def written():
    with open("/proc/self/io") as counters:
        return next(int(line.split()[1]) for line in counters if line.startswith("wchar"))


def cost(path, step, **options):
    array = zarr.create_array(path, shape=(256, 1024), chunks=(4, 1024), dtype="i4", fill_value=0, compressors=None,
                              **options)
    before = written()
    for row in range(0, 256, step):
        array[row:row + step] = row + 1
    return (written() - before) / mebibyte


seen = {
    "sharded, at once": cost("a", 256, shards=(256, 1024)), "sharded, by chunk": cost("b", 4, shards=(256, 1024)),
    "plain, at once": cost("c", 256), "plain, by chunk": cost("d", 4),
}
print({name: f"{value:.1f} MiB" for name, value in seen.items()})
seen = [round(value) for value in seen.values()]
expected = [1, 33, 1, 1]
if seen != expected:
    raise SystemExit("Writing a zarr shard chunk by chunk now costs another amount.")
EOF
