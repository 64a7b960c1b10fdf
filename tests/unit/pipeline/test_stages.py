"""What a stage makes of a batch: the same numbers, the items that are left, and where they stand."""

import gc
import weakref

import numpy as np
import pytest

from pardata.codec.batch_codec import Batch
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.programs.context import StageContext
from pardata.pipeline.programs.item import ItemProgram
from pardata.runtime.events import ItemSkipped
from pardata.runtime.faults import Fault
from pardata.runtime.worker.program import StageFailure


class Port:
    """Notes what a program counts and reports."""

    def __init__(self):
        self.counted = (0, 0, 0)
        self.reported = []

    def count(self, items, dropped=0, failed=0):
        self.counted = tuple(map(sum, zip(self.counted, (items, dropped, failed), strict=True)))

    def report(self, event):
        self.reported.append(event)

    def attempt(self, sequence, number):
        pass


@pytest.fixture
def port():
    return Port()


def process(port, fn, items, positions=None, is_filter=False, skip=False):
    """Let a stage process the batch of items 100, 101, ..."""
    what = Kind.FILTER if is_filter else Kind.MAP
    program = ItemProgram("stage", fn, what, errors="skip" if skip else "raise")
    count = len(items) if positions is None else max(positions) + 1
    return program.process(Batch(2, 100, count, 7, list(items), positions), port, fn, StageContext(0, program.identity))


def fails_for(*bad):
    def fn(item):
        if item in bad:
            raise ValueError(f"bad {item}")
        return item * 10

    return fn


def test_each_item_is_replaced_by_its_result(port):
    batch = process(port, lambda item: item + 1, [1, 2, 3])
    assert (batch.items, batch.positions) == ([2, 3, 4], None)
    assert (batch.sequence, batch.number, batch.count, batch.cell) == (2, 100, 3, 7)
    assert port.counted == (3, 0, 0)


def test_without_a_function_items_pass(port):
    batch = process(port, None, [1, 2], [0, 4])
    assert (batch.items, batch.positions, port.counted) == ([1, 2], [0, 4], (2, 0, 0))


def test_items_that_a_filter_keeps_know_where_they_stood(port):
    batch = process(port, lambda item: item % 2, [1, 2, 3, 4, 5], is_filter=True)
    assert (batch.items, batch.positions, batch.count) == ([1, 3, 5], [0, 2, 4], 5)
    batch = process(port, lambda item: item > 1, batch.items, batch.positions, is_filter=True)
    assert (batch.items, batch.positions) == ([3, 5], [2, 4])
    assert port.counted == (8, 3, 0)


def test_batch_of_which_a_filter_keeps_nothing_goes_on_empty(port):
    batch = process(port, lambda item: False, [1, 2], is_filter=True)
    assert (batch.items, batch.positions, batch.count) == ([], [], 2)


def test_error_ends_the_stage_and_names_the_item(port):
    with pytest.raises(StageFailure) as caught:
        process(port, fails_for(3), [1, 2, 3], [0, 5, 6])
    fault = caught.value.fault
    assert (fault.stage, fault.number, fault.item, fault.error) == ("stage", 106, "3", "ValueError: bad 3")
    assert isinstance(caught.value.original, ValueError)


def test_skipped_item_is_reported_with_its_sequence_and_the_others_go_on(port):
    batch = process(port, fails_for(2, 4), [1, 2, 3, 4], skip=True)
    assert (batch.items, batch.positions) == ([10, 30], [0, 2])
    assert port.counted == (4, 0, 2)
    assert [(type(event), event.fault.number, event.sequence, event.is_listed) for event in port.reported] == [
        (ItemSkipped, 101, 2, True),
        (ItemSkipped, 103, 2, True),
    ]
    assert all(isinstance(event.fault, Fault) for event in port.reported)


def test_item_is_let_go_before_the_next_one_is_processed(port):
    """So that its memory is free as soon as the function has dropped it."""
    items = [np.zeros(3) for _ in range(3)]
    alive = [weakref.ref(item) for item in items]
    seen = []

    def fn(item):
        gc.collect()
        seen.append(sum(ref() is not None for ref in alive))
        return 0

    batch = Batch(2, 100, 3, 7, items)
    del items
    program = ItemProgram("stage", fn)
    program.process(batch, port, fn, StageContext(0, program.identity))
    assert seen == [3, 2, 1]


def test_function_that_returns_the_same_buffer_for_every_item_gives_every_item_its_own_values(port):
    """As it does where a message has one item, and on the serial engine."""
    buffer = np.empty(3)

    def fill(item):
        buffer[:] = item
        return buffer

    batch = process(port, fill, [1, 2, 3])
    assert [array[0] for array in batch.items] == [1, 2, 3]
