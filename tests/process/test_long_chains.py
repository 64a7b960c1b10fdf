"""A chain of as many worker processes as a run may have, nearly."""

import resource
from functools import partial
from operator import add

import pytest

import pardata

STAGES = 500
DESCRIPTORS = 4096  # of the main process: two sockets for each edge, two and a sentinel for each worker


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"the system allows {hard} descriptors, and a chain of {STAGES} processes needs {DESCRIPTORS}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_chain_of_five_hundred_processes(many_descriptors):
    stream = pardata.source(range(5))
    for _ in range(STAGES):
        stream = stream.map(partial(add, 1))
    with stream.iterate(stall_s=None) as run:
        assert list(run) == [STAGES + number for number in range(5)]
