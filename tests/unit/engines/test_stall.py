"""What is said of a worker when a run has stood still."""

import time

import pytest

import pardata
from pardata.engines.processes.stall import StallWatch
from pardata.memory.arena import HEADER_BYTES, Span
from pardata.memory.segment import Segment
from pardata.pipeline.plan.plan import Plan
from pardata.runtime.header import (
    BEGUN_NS,
    BLOCKED_NS,
    CURRENT_CALL,
    LOADING,
    MEMORY,
    STARVED_NS,
    WAITS_FOR,
    batch_word,
)


@pytest.mark.parametrize(
    ("doing", "waits_for", "told"),
    [
        (LOADING, 0, "is starting"),
        (batch_word(0, 5), 0, "works on item 5 for"),
        (0, STARVED_NS, "waits for 'source' for"),
        (0, BLOCKED_NS, "waits for a free worker for"),
        (0, MEMORY, "waits for memory for"),
    ],
)
def test_what_a_worker_does_is_told(doing, waits_for, told):
    segment = Segment.create()
    segment.close_fd()
    words = Span(0, HEADER_BYTES).words(segment)
    words[CURRENT_CALL], words[WAITS_FOR], words[BEGUN_NS] = doing, waits_for, time.monotonic_ns()
    plan = Plan(pardata.source([1]).map(abs).map(str)._node, iterated=True)
    stage = next(stage for stage in plan.stages if stage.name == "abs")
    assert StallWatch(plan, {stage: [words]}, None).explain().startswith(f"  stage 'abs': {told}")
