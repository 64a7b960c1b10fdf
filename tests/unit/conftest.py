import sys

import pytest

from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.segment import Segment


@pytest.fixture(autouse=True)
def nothing_is_held_by_pytest(request):
    """Drop what pytest still holds of a test before it is checked that nothing is left: an arena holds its segment."""
    yield
    (request.node.funcargs or {}).clear()  # None: Ctrl-C
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):  # the frames of a test that failed
        vars(sys).pop(name, None)


@pytest.fixture
def segment():
    """A segment whose descriptors are closed afterwards."""
    made = Segment.create()
    yield made
    made.close_fd()
    del made.map


@pytest.fixture
def arena(segment):
    return Arena(segment, Span(0, 1 << 30), HEADER_BYTES, None, "worker")
