"""How many messages may be in flight, as far as there are addresses for them."""

import pytest

import pardata
from pardata.channel.window import Window
from pardata.channel.words import AREA_BYTES, RECORD_BYTES
from pardata.engines.processes.layout import fitting
from pardata.errors import CapacityError
from pardata.pipeline.plan.plan import Plan
from pardata.runtime.worker.spec import CHANNELS_AT

FULL_SPAN = 64 << 30
SMALL_SPAN = 128 << 20  # under `ulimit -v`


def plan_of(workers):
    stream = pardata.source(range(10)).map(abs).map(abs, workers=workers)
    return Plan(stream._node, iterated=True)


@pytest.mark.parametrize("workers", [1, 8, 100])
def test_a_full_span_has_addresses_for_all(workers):
    window = Window(5, 2000)
    assert fitting(window, plan_of(workers), FULL_SPAN) == window


@pytest.mark.parametrize("workers", [1, 8, 12])
def test_a_small_span_has_room_for_channels_and_as_much_for_arrays(workers):
    plan = plan_of(workers)
    window = plan.window()
    narrowed = fitting(window, plan, SMALL_SPAN)
    assert window.fewest == narrowed.fewest <= narrowed.most <= window.most
    channels = workers * (narrowed.most + 20) * (AREA_BYTES + RECORD_BYTES)
    assert CHANNELS_AT + channels <= SMALL_SPAN // 2
    assert (narrowed.most == window.most) == (workers == 1)


@pytest.mark.parametrize("tokens", [None, 200])
def test_workers_that_do_not_fit_are_refused_with_the_limit(tokens):
    plan = plan_of(40)
    with pytest.raises(CapacityError, match=r"stage 'abs' has 40 workers behind it and at least .*ulimit -v"):
        fitting(plan.window(tokens), plan, SMALL_SPAN)
