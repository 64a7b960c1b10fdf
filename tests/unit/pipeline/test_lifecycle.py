"""The life of a run: what is in the table can happen, nothing else can."""

import pytest

import pardata
from pardata.errors import InternalError
from pardata.pipeline.lifecycle import RunEvent, RunLife, RunState


def test_a_run_begins_closes_once_and_is_closed():
    life = RunLife(1)
    assert not life.close()
    life.on(RunEvent.BEGIN)
    assert life.close()
    assert not life.close()
    assert life.state is RunState.CLOSING
    life.on(RunEvent.CLOSED)
    assert not life.close()
    assert life.state is RunState.CLOSED


@pytest.mark.parametrize("event", [RunEvent.CLOSE, RunEvent.CLOSED])
def test_what_cannot_happen_is_an_error_that_tells_the_history(event):
    life = RunLife(1)
    with pytest.raises(InternalError, match=f"a run {event.value} while it is new; before that: nothing"):
        life.on(event)
    life.on(RunEvent.BEGIN)
    life.on(RunEvent.CLOSE)
    life.on(RunEvent.CLOSED)
    with pytest.raises(InternalError, match=f"a run {event.value} while it is closed; .*: begins, is to close, has cl"):
        life.on(event)
    assert life.state is RunState.CLOSED


@pytest.mark.parametrize("engine", ["serial", "threads", "processes"])
def test_a_run_says_whether_it_is_open(engine):
    with pardata.source(range(3)).map(abs).iterate(engine=engine) as run:
        assert next(run) == 0
        assert ", open: source " in repr(run)
    assert ", closed: source " in repr(run)
    assert list(run) == []
