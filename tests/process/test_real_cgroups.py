"""A control group of this machine is seen by who is put into it, at the group itself and below."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pardata.memory.cgroups import own_groups

SHOW = """
import os, sys
for group in sys.argv[1:]:
    with open(f"{group}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
from pardata.memory.budget import available_bytes
from pardata.runtime.library_limits import usable_cores
print(available_bytes(), usable_cores())
"""
FILES = {
    ("memory", 1): {"memory.limit_in_bytes": str(256 << 20)},
    ("memory", 2): {"memory.max": str(256 << 20)},
    ("cpu", 1): {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"},
    ("cpu", 2): {"cpu.max": "50000 100000"},
}


@pytest.fixture
def limited():
    """Make groups with a limit, for a controller, and return the directory of a group below it."""
    made = []

    def make(controller):
        refusals = []
        for directories, version in own_groups(controller):
            outer = Path(directories[0], f"pardata-test-{os.getpid()}")
            inner = outer / "inner"
            try:
                for place in (outer, inner):
                    place.mkdir()
                    made.insert(0, place)
                for name, text in FILES[controller, version].items():
                    (outer / name).write_text(text)
                return str(inner)
            except OSError as error:
                refusals.append(str(error))
        pytest.skip(f"no group with a limit of {controller} can be made here: {refusals}")

    yield make
    for place in made:
        with contextlib.suppress(OSError):
            place.rmdir()


def shown(*groups):
    """The memory and the cores that a process in these groups may use."""
    command = [sys.executable, "-c", SHOW, *groups]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_CPU_COUNT"}
    return list(map(int, subprocess.check_output(command, env=environment).split()))


def test_memory_of_a_group_above(limited):
    group = limited("memory")
    available, _ = shown(group)
    assert (128 << 20) < available <= (256 << 20)


def test_half_a_core_of_a_group_above(limited):
    group = limited("cpu")
    assert shown(group)[1] == 1
