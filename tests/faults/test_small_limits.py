"""Limits of the system and of the user that are small: what is promised holds, or an error names the limit."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pardata
from pardata.memory.budget import CONTROL
from pardata.memory.shared_heap import shared_heap
from pardata.runtime.header import BLOCKED_NS, CURRENT_CALL, ITEMS, WAITS_FOR

HANG_S = 300
CORES_TO = Path("/proc/sys/kernel/core_pattern")


def add_one(number):
    return number + 1


def segment_bytes():
    return 512 * os.fstat(shared_heap().segment.fd).st_blocks


def test_a_farm_of_64_workers_takes_little_and_counts_it():
    shared_heap().arena.trim()
    before, counted = segment_bytes(), 0
    with pardata.source(range(2000)).map(add_one, workers=64).iterate() as run:
        total, peak = next(run), segment_bytes()
        for item in run:
            total, peak = total + item, max(peak, segment_bytes())
            counted = run._parts.port.memory.budget.live_bytes() if run._is_open() else counted
    assert total == sum(range(1, 2001))
    assert peak - before <= 8 << 20
    assert peak - before <= counted + (1 << 20)


def test_more_messages_than_are_needed_take_a_part_of_the_limit_at_most():
    """Each of 300 bytes lies in pages of its own, on two channels, for good: 128 of them would take a megabyte."""
    limit_bytes = 1 << 20
    stream = pardata.source(bytes(300) for _ in range(4000)).map(bytes, workers=4, chunksize=1)
    most = 0
    with stream.iterate(memory_limit=limit_bytes) as run:
        for number, _ in enumerate(run):
            if number % 1000 == 999:  # the window is open by now, and this loop keeps everybody waiting
                most = max(most, control_when_all_wait(run))
    assert 0 < most <= limit_bytes // 4 + 32 * 4096


def control_when_all_wait(run):
    """Return what tables and channels take when everybody has done what can be done without the consumer."""
    words = run._parts.threads[0].port.words
    while words[ITEMS] < 4000 and (words[CURRENT_CALL] or words[WAITS_FOR] != BLOCKED_NS):
        time.sleep(0.001)
    return run._parts.port.memory.budget.control_bytes()


def test_workers_whose_channels_do_not_fit_into_the_limit_are_refused():
    with pytest.raises(pardata.CapacityError, match=r"tables and channels of 18 workers need .* memory_limit="):
        pardata.source(range(3)).map(add_one, workers=16).run(memory_limit=100_000)
    with pytest.raises(pardata.CapacityError, match=r"tables and channels of 17 workers need .* memory_limit="):
        pardata.WorkerPool(16, memory_limit=100_000)


def test_tables_and_channels_are_named_where_memory_is_short():
    def make(number):
        return pardata.empty(1 << 20)

    with pytest.raises(pardata.CapacityError, match=r"without the .* of tables and channels"):
        pardata.source(range(3)).map(make).map(len).run(memory_limit=(8 << 20) + 100)
    with (
        pardata.WorkerPool(1, memory_limit=(8 << 20) + 100) as pool,
        pytest.raises(pardata.CapacityError, match=r"tables and channels: "),
    ):
        pool.submit(make, 0).result()


CRASH = """
import os, resource, signal, sys
import pardata
from pardata.memory.shared_heap import shared_heap

def crash(number):
    os.kill(os.getpid(), signal.SIGSEGV)

resource.setrlimit(resource.RLIMIT_CORE, (256 << 20,) * 2)
with pardata.WorkerPool(1) as pool:
    try:
        pool.submit(crash, 1).result()
    except pardata.WorkerLostError as error:
        print(512 * os.fstat(shared_heap().segment.fd).st_blocks, "SIGSEGV" in str(error))
"""


@pytest.mark.skipif(CORES_TO.read_text().startswith("|"), reason="core files go to a program here")
def test_a_core_dump_does_not_fill_the_shared_memory(tmp_path):
    done = subprocess.run([sys.executable, "-c", CRASH], cwd=tmp_path, capture_output=True, text=True, timeout=HANG_S)
    taken, is_told = done.stdout.split()
    assert is_told == "True", done.stderr
    assert int(taken) < 4 << 20


FEW_ADDRESSES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30,) * 2)
import numpy as np, pardata

def frames():
    for number in range(50):
        yield np.full(20_000, float(number))

def first(frame):
    return frame[0]

print(sum(pardata.source(frames).map(first, workers=int(sys.argv[1])).iterate()))
"""


def test_a_farm_has_room_for_arrays_where_addresses_are_few():
    done = subprocess.run([sys.executable, "-c", FEW_ADDRESSES, "12"], capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stdout) == (0, "1225.0\n"), done.stderr


def test_more_workers_than_there_are_addresses_for_are_refused():
    done = subprocess.run([sys.executable, "-c", FEW_ADDRESSES, "22"], capture_output=True, text=True, timeout=HANG_S)
    assert "CapacityError: stage 'frames' has 22 workers behind it" in done.stderr
    assert "ulimit -v" in done.stderr


def test_a_worker_that_is_replaced_goes_on_counting(tmp_path):
    def die_once(number):
        if number == 20 and not (tmp_path / "dead").exists():
            (tmp_path / "dead").touch()
            os.kill(os.getpid(), 9)
        return number

    counted = []
    with pardata.source(range(60)).map(die_once, chunksize=1).iterate() as run:
        for _ in run:
            if run._is_open():
                counted.append(sum(words[CONTROL] for words in run._parts.port.memory.budget._headers))
    assert counted == sorted(counted)
    assert counted[-1] <= 64 * 4096
