"""A process that may open few more descriptors: all works, or is a `CapacityError` that tells how many are needed."""

import os
import re
import socket
import subprocess
import sys

import pytest

import pardata
from tests.faults.programs import without_session

HANG_S = 300
COLD = ["block", "items", "manager"]  # need one less when there is a session

SWEEP = """
import os, resource, sys
import numpy as np
import pardata

LIMIT = 100
QUIET = pardata.Table([1, 2], ["one", "two"]), pardata.Queue, pardata.serve, pardata.ShareableList

def serve(address=None):
    with pardata.serve(QUIET[0], address) as server, server.lookup() as client:
        assert client[2] == "two"

def pool():
    with pardata.WorkerPool(2) as pool:
        assert pool.submit(pow, 2, 3).result() == 8

def run():
    found = []
    pardata.source(range(5)).map(str).to(found).run()
    assert found == list("01234")

def loop():
    assert list(pardata.source(range(5)).map(str)) == list("01234")

def queue():
    queue = pardata.Queue(3)
    queue.put(1)
    assert queue.get() == 1

def block():
    block = pardata.SharedMemory(create=True, size=100)
    pardata.SharedMemory(block.name).close()
    block.unlink()

def items():
    items = pardata.ShareableList([1, "two"])
    assert items[1] == "two"
    items.shm.unlink()

def manager():
    with pardata.SharedMemoryManager() as manager:
        manager.SharedMemory(10)

def table():
    with pardata.Table([1, 2], ["one", "two"]) as table:
        assert table[1] == "one"

KINDS = {
    "array": lambda: pardata.array(np.ones(1000)).sum(), "block": block, "items": items, "manager": manager,
    "table": table, "queue": queue, "service": serve, "service at a port": lambda: serve("127.0.0.1:0"),
    "pool": pool, "run": run, "loop": loop,
}

def try_with(free, work):
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for _ in range(free):
        os.close(held.pop())
    try:
        work()
        return ""
    except pardata.CapacityError as error:
        return str(error)
    finally:
        for fd in held:
            os.close(fd)

def sweep(work):
    told = ""
    for free in range(LIMIT):
        told, before = try_with(free, work), told
        if not told:
            return free, before

for name in pardata.__all__:
    getattr(pardata, name)  # what is loaded late needs one for a moment
resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
for kind, work in KINDS.items():
    if kind == "pool":
        loop()  # loads what is loaded late, and starts the fork server
    print(kind, *sweep(work), sep="|", flush=True)
"""


@pytest.mark.parametrize("is_child", [False, True], ids=["alone", "in a session"])
def test_everything_works_or_tells_how_many_descriptors_it_needs(is_child):
    environment = os.environ if is_child else without_session()
    command = [sys.executable, "-c", SWEEP]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=HANG_S)
    assert (done.returncode, done.stderr) == (0, "")
    told = [line.split("|") for line in done.stdout.splitlines()]
    assert len(told) == 11
    for kind, enough, last in told:
        found = re.fullmatch(
            r".* needs (\d+) file descriptors?; this process has \d+ open and may have 100\. Raise .*ulimit -n.*", last
        )
        assert found, (kind, last)
        needed = int(found[1])
        assert needed == int(enough) or (kind in COLD and needed >= int(enough)), (kind, enough, last)


LATE = """
import os, resource, sys
import pardata

def without_descriptors(work):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit))
    try:
        return work()
    except pardata.CapacityError as error:
        return str(error).partition(";")[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 1024), limit))

for name in sys.argv[1].split():
    print(without_descriptors(lambda: getattr(pardata, name)))
    assert getattr(pardata, name)
stream = pardata.source([1, 2]).map(abs)
for engine in ("serial", "threads", "processes"):
    print(without_descriptors(lambda: stream.run(engine=engine)))
    stream.run(engine=engine)
print(pardata.zeros(3).sum())
"""


def test_what_is_loaded_late_without_descriptors_tells_so_and_is_loaded_later():
    names = ["zeros", "source", "files", "Table", "Queue", "WorkerPool"]
    command = [sys.executable, "-c", LATE, " ".join(names)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stderr) == (0, "")
    told = [f"the first use of pardata.{name}" for name in names] + ["the first run"]
    told += [f"the first run on {engine}" for engine in ("threads", "processes")]
    needs = " needs 1 file descriptor\n"
    assert [line.partition(" needs ")[0] for line in done.stdout.splitlines()] == [*told, "0.0"]
    assert done.stdout.count(needs) == len(told)


@pytest.fixture
def client():
    """A socket that needs no further descriptor."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        yield made


def test_a_service_without_descriptors_lets_clients_wait_and_logs_nothing(client, caplog, monkeypatch):
    with pardata.serve(pardata.Table([1], [2])) as server:
        is_refused = []

        def refuse(accept=server._accept):
            is_refused.append(len(is_refused) < 3)
            if is_refused[-1]:
                raise OSError(24, "Too many open files")
            return accept()

        monkeypatch.setattr(server, "_accept", refuse)
        client.connect(server.address.removeprefix("unix:"))
        client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200")
    assert is_refused == [True, True, True, False]
    assert not caplog.records
