"""The levels of this process's loggers are in shared memory, as they are now."""

import json
import logging
import os
import sys

import pytest

from pardata.memory.shared_heap import LEVELS_BYTES, shared_heap
from pardata.runtime.output import levels
from pardata.runtime.output.levels import Levels, tell_if_stale, tell_levels


@pytest.fixture
def told():
    """Return a function that tells the levels as a worker reads them now."""
    heap = shared_heap()
    tell_levels(heap)
    read = Levels(heap.segment)

    def update(is_told=True):
        if is_told:
            tell_if_stale(heap)
        words = read._words
        text = bytes(read._bytes[levels._TEXT_AT : levels._TEXT_AT + words[levels.LENGTH]])
        return bool(words[levels.STALE]), *json.loads(text)

    return update


def test_a_change_is_known_at_once_and_written_when_it_is_asked_for(told):
    logger = logging.getLogger("lab.unit")
    logger.setLevel(logging.NOTSET)
    is_stale, disabled, known = told()
    assert (is_stale, disabled) == (False, 0) and "lab.unit" not in known
    logger.setLevel(17)
    is_stale, _, known = told(is_told=False)
    assert is_stale and "lab.unit" not in known
    is_stale, _, known = told()
    assert not is_stale and known["lab.unit"] == 17
    logging.disable(5)
    try:
        assert told(is_told=False)[0] and told()[:2] == (False, 5)
    finally:
        logging.disable(logging.NOTSET)
        logger.setLevel(logging.NOTSET)


def test_no_step_of_python_code_comes_between_in_which_an_interrupt_would_keep_the_lock_of_logging(told):
    lines = []

    def trace(frame, event, argument):
        lines.append(frame.f_code.co_filename)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        logging.getLogger("lab.unit").setLevel(logging.NOTSET)
    finally:
        sys.settrace(before)
    assert told(is_told=False)[0] and set(lines) == {logging.__file__}


def test_levels_that_do_not_fit_let_everything_through(told, monkeypatch):
    monkeypatch.setattr(levels, "LEVELS_BYTES", 100)
    logging.getLogger("lab." + "u" * 100).setLevel(10)
    try:
        assert told() == (False, 0, {"root": 1})
    finally:
        logging.getLogger("lab." + "u" * 100).setLevel(logging.NOTSET)
    assert LEVELS_BYTES > 10_000


def test_the_root_counts_if_somebody_has_configured_it(told, monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    tell_levels(shared_heap())
    assert "root" not in told()[2]
    monkeypatch.setattr(root, "level", logging.NOTSET)
    tell_levels(shared_heap())
    assert told()[2]["root"] == 1


def test_a_forked_child_leaves_them_alone(told):
    if (child := os.fork()) == 0:
        logging.getLogger("lab.unit").setLevel(3)
        os._exit(0)
    os.waitpid(child, 0)
    assert not told(is_told=False)[0]
