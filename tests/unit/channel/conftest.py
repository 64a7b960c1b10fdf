import pytest

from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.segment import Segment
from tests.unit.channel.rig import Rig


@pytest.fixture
def make_rig():
    """Make channels; they are closed afterwards."""
    made = []

    def make(slots=4):
        made.append(Rig(slots))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def rig(make_rig):
    return make_rig()


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
