import pytest

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
