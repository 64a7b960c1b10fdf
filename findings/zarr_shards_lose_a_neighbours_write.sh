#!/usr/bin/env bash
# zarr 3.4.2 (3.1.6 likewise): two processes that write different chunks of one shard lose one of the two writes.
#
# Chunks are what zarr promises to be written independently, and without sharding they are files of their own. With
# shards= the chunk that array.chunks names is a part of a file that is read, changed and replaced as a whole: the
# second process to replace it puts back the other's chunk as it was. Both calls return normally. The unit of safe
# concurrent writing is array.shards; code that cuts its work by array.chunks, as was right for every array until now,
# is wrong without any change of its own. The order is forced here by letting both read before either replaces.
#
# Seen: of two writes to chunks 0 and 2 exactly one is left with a shard of four chunks; without shards both are.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet "zarr==3.4.2; python_version>='3.12'" "zarr==3.1.6; python_version<'3.12'" numpy==2.4.6

venv/bin/python - <<'EOF'
import multiprocessing

from zarr import create_array, open_array
from zarr.storage import LocalStore, WrapperStore

context = multiprocessing.get_context("fork")


def create(path, **options):
    create_array(path, shape=(4,), chunks=(1,), dtype="i4", fill_value=0, **options)


def write(path, barrier, index):
    class Meeting(WrapperStore):
        async def set(self, key, value):
            barrier.wait(60)  # the other one has read its shard as well
            await super().set(key, value)

    open_array(Meeting(LocalStore(path)), mode="r+")[index] = 1


def run(*processes):
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert not any(process.exitcode for process in processes)


for path, options in {"sharded": {"shards": (4,)}, "plain": {}}.items():  # zarr's threads do not survive a fork:
    run(context.Process(target=create, args=(path,), kwargs=options))  # the parent does not use it before the last
    barrier = context.Barrier(2)
    run(*(context.Process(target=write, args=(path, barrier, index)) for index in (0, 2)))
seen = {path: int(open_array(path, mode="r")[:].sum()) for path in ("sharded", "plain")}
expected = {"sharded": 1, "plain": 2}
print("writes left of two:", seen)
if seen != expected:
    raise SystemExit("zarr now treats concurrent writes to one shard differently.")
EOF
