"""How many items a source puts into a message."""

import itertools
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from pardata.pipeline.programs import batcher
from pardata.pipeline.programs.batch_size import LARGEST_BATCH, Sizes
from pardata.pipeline.programs.batcher import Batcher

MESSAGE_BYTES = 1 << 20


class Port:
    """As much of a port as a batcher needs; each message has come out when the next one is sent."""

    passed = None
    message_bytes = MESSAGE_BYTES
    last_bytes = came_out = 0

    def __init__(self):
        self.lock = threading.RLock()
        self.sent = []

    def token(self, number):
        return 0

    def publish(self, batch):
        self.came_out = len(self.sent)
        self.sent.append([item.nbytes for item in batch.items])
        self.last_bytes = sum(self.sent[-1])

    def heaviest_item_bytes(self):
        return 0.0

    def poll(self):
        pass


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time passes by a microsecond at each look, and no batch is sent for waiting too long."""
    ticks = itertools.count()
    monkeypatch.setattr(batcher, "time", SimpleNamespace(perf_counter=lambda: next(ticks) * 1e-6))
    monkeypatch.setattr(batcher, "LATENCY_S", 1000)


def messages(sizes, fixed=None):
    """The bytes of the items of each message."""
    port = Port()
    made = Batcher(port, "source", 0, Sizes(fixed), counts=False)
    for nbytes in sizes:
        made.append([np.zeros(nbytes, "u1")])
    made.close()
    assert [nbytes for message in port.sent for nbytes in message] == list(sizes)
    return port.sent


@pytest.mark.parametrize(
    ("nbytes", "most"), [(800, LARGEST_BATCH), (20_000, 52), (80_000, 13), (500_000, 2), (600_000, 1), (8_000_000, 1)]
)
def test_messages_have_several_arrays_up_to_a_number_of_bytes(nbytes, most):
    sent = messages([nbytes] * 200)
    assert max(map(len, sent)) == most


@pytest.mark.parametrize("nbytes", [16_384, 80_000, 300_000])
def test_arrays_that_become_larger_make_no_huge_messages(nbytes):
    sent = messages([*[800] * 200, *[nbytes] * 100, *[800] * 100])
    assert all(sum(message) <= MESSAGE_BYTES for message in sent)


def test_chunksize_is_kept():
    assert list(map(len, messages([80_000] * 100, fixed=40))) == [40, 40, 20]
