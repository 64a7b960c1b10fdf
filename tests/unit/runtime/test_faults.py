"""An error of the user's code reaches the caller as its own type, or as text where that cannot be."""

import pickle
import threading

import numpy as np
import pytest

from pardata.errors import RemoteError, RemoteTraceback
from pardata.runtime.carried_errors import pack_error, unpack_error
from pardata.runtime.faults import Fault, describe_item


def fault_of(error, **where):
    """Raise `error`, and describe it as a worker does."""
    try:
        raise error
    except BaseException as caught:
        return pickle.loads(pickle.dumps(Fault.of(caught, "sobel", **where)))  # as it crosses to the parent


class WithState(ValueError):
    def __init__(self, message, *, code):
        super().__init__(message)
        self.code = code

    def __reduce__(self):
        return _with_state, (self.args[0], self.code)


def _with_state(message, code):
    return WithState(message, code=code)


class NeedsTwo(Exception):
    """Pickles, and cannot be unpickled: its constructor wants more than `args` says."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Full(NeedsTwo, MemoryError):
    """The same, and CPython takes none of the `__new__` that it has; distributed has CapacityError pickled so, too."""


class HoldsALock(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


class ChangesItsMind(Exception):
    """Unpickles as something else."""

    def __reduce__(self):
        return ValueError, ("something else",)


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "error", [ValueError("bad value"), KeyError("key"), OSError(2, "no such"), MemoryError()], ids=repr
)
def test_builtin_exception_arrives_as_its_own_type(error):
    raised = fault_of(error).exception()
    assert type(raised) is type(error)
    assert raised.args == error.args


def test_exception_of_the_user_keeps_its_attributes():
    raised = fault_of(WithState("bad", code=7)).exception()
    assert type(raised) is WithState
    assert raised.code == 7


def test_note_names_stage_item_number_and_item():
    raised = fault_of(ValueError("bad"), number=5, item=np.zeros((2, 3), "f4")).exception()
    assert raised.__notes__ == ["in stage 'sobel', item 5: array of shape (2, 3), float32"]


def test_note_leaves_out_what_is_not_known():
    assert fault_of(ValueError()).note == "in stage 'sobel'"
    assert fault_of(ValueError(), number=5).note == "in stage 'sobel', item 5"


def test_notes_of_the_user_stay():
    error = ValueError("bad")
    error.add_note("look at the exposure")
    assert fault_of(error).exception().__notes__ == ["look at the exposure", "in stage 'sobel'"]


def test_remote_traceback_is_the_cause():
    def user_function():
        raise ZeroDivisionError("by zero")

    try:
        user_function()
    except ZeroDivisionError as caught:
        raised = Fault.of(caught, "sobel").exception()
    assert type(raised.__cause__) is RemoteTraceback
    assert "in user_function" in str(raised.__cause__)
    assert "ZeroDivisionError: by zero" in str(raised.__cause__)


@pytest.mark.parametrize(
    "error", [NeedsTwo(1, 2), Full(1, 2), ChangesItsMind("mine")], ids=lambda error: type(error).__name__
)
def test_exception_that_cannot_be_made_by_its_constructor_arrives_as_its_own_type(error):
    error.frame = 7
    raised = fault_of(error, number=3).exception()
    assert type(raised) is type(error)
    assert (raised.args, str(raised), raised.frame) == (error.args, str(error), 7)


def test_exception_that_cannot_cross_arrives_as_text():
    fault = fault_of(HoldsALock("busy"), number=3)
    raised = fault.exception()
    assert type(raised) is RemoteError
    assert str(raised) == f"{__name__}.HoldsALock: busy"
    assert "HoldsALock" in str(raised.__cause__)
    assert raised.__notes__ == ["in stage 'sobel', item 3"]


class NotThere(ValueError):
    """Unpickles where it was made only."""

    is_there = True

    def __reduce__(self):
        return _if_there, ()


def _if_there():
    if not NotThere.is_there:
        raise ImportError("not here")
    return NotThere()


def test_exception_that_cannot_be_unpickled_by_the_caller_arrives_as_text(monkeypatch):
    fault = fault_of(NotThere())
    group = fault_of(ExceptionGroup("both", [NotThere(), KeyError("k")]))
    assert type(fault.exception()) is NotThere
    monkeypatch.setattr(NotThere, "is_there", False)
    assert type(fault.exception()) is RemoteError
    assert [type(part) for part in group.exception().exceptions] == [RemoteError, KeyError]


def test_what_is_larger_than_any_result_arrives_as_text_and_the_rest_as_it_is():
    error = ExceptionGroup("both", [ValueError("bad", np.zeros(100_000)), KeyError("k")])
    made = unpack_error(pack_error(error, most_bytes=100_000))
    assert [type(part) for part in made.exceptions] == [RemoteError, KeyError]
    assert "ValueError: ('bad', array([0., 0." in str(made.exceptions[0])


def test_a_group_that_cannot_be_pickled_arrives_as_a_plain_one():
    class Group(ExceptionGroup):
        pass

    error = Group("both", [ValueError("a"), KeyError("k")])
    error.lock = threading.Lock()
    made = unpack_error(pack_error(error))
    assert (type(made), made.message) == (ExceptionGroup, "both")
    assert [type(part) for part in made.exceptions] == [ValueError, KeyError]


def test_links_may_run_in_a_circle():
    one, other = ValueError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one
    made = fault_of(one).exception()
    assert made.__cause__.__cause__ is made and type(made.__cause__) is KeyError


def nested(depth):
    error = ValueError("innermost")
    for _ in range(depth):
        error = ExceptionGroup("all", [error])
    return error


def chained(depth):
    error = first = ValueError("first")
    for number in range(depth):
        error.__cause__ = ValueError(number)
        error = error.__cause__
    return first


@pytest.mark.parametrize("depth", [900, 5000])
def test_groups_may_be_nested_deeper_than_calls(depth):
    error = fault_of(nested(depth), number=3).exception()
    assert error.__notes__ == ["in stage 'sobel', item 3"] and "ExceptionGroup: all" in str(error.__cause__)
    for _ in range(depth):
        (error,) = error.exceptions
    assert repr(error) == "ValueError('innermost')"


def test_chains_of_causes_may_be_longer_than_calls_may_be_nested():
    error = fault_of(chained(5000)).exception()
    for number in range(5000):
        error = error.__cause__
        assert error.args == (number,)


def test_an_exception_that_is_its_own_argument_arrives_as_text():
    error = ValueError("a")
    error.args = (error,)
    assert type(fault_of(error).exception()) is RemoteError


class Closed(Exception):
    """Does not let others look at it."""

    @property
    def __cause__(self):
        raise RuntimeError("closed")


def test_an_exception_that_cannot_be_looked_at_arrives_as_text():
    fault = fault_of(Closed("no"), number=3)
    assert "Closed: no" in str(fault.exception())
    assert fault.exception().__notes__ == ["in stage 'sobel', item 3"]


def test_a_group_that_says_it_is_its_own_part_arrives():
    class Circle(ExceptionGroup):
        exceptions = property(lambda self: (self,))

    assert isinstance(unpack_error(pack_error(Circle("round", [KeyError("k")]))), ExceptionGroup)


def test_the_text_of_an_earlier_worker_is_not_told_twice():
    inner = fault_of(ValueError("bad")).exception()
    raised = fault_of(inner).exception()
    assert type(raised.__cause__) is RemoteTraceback and raised.__cause__.__cause__ is None
    assert raised.__notes__ == ["in stage 'sobel'"] * 2


def test_exception_without_a_text_is_named():
    assert "NoText" in fault_of(NoText()).error


def test_stop_iteration_does_not_end_the_callers_loop():
    raised = fault_of(StopIteration(3), number=2).exception()
    assert type(raised) is RuntimeError
    assert raised.__notes__ == ["in stage 'sobel', item 2"]


def test_one_line_names_type_and_text():
    assert fault_of(ValueError("bad value")).error == "ValueError: bad value"
    assert fault_of(WithState("bad", code=1)).error.endswith("test_faults.WithState: bad")


def test_very_long_text_is_cut():
    fault = fault_of(HoldsALock("x" * 1_000_000))
    assert len(pickle.dumps(fault)) < 150_000


class NoRepr:
    def __repr__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("frame.png", "'frame.png'"),
        (np.zeros((4, 5), ">i2"), "array of shape (4, 5), >i2"),
        (NoRepr(), "<NoRepr whose repr fails>"),
        ([0] * 1000, "[" + "0, " * 65 + "0..."),
    ],
    ids=["text", "array", "no repr", "long"],
)
def test_item_is_described_in_a_line(item, text):
    assert describe_item(item) == text
    assert len(describe_item(item)) <= 200


class Unreadable(np.ndarray):
    """An array whose contents are not to be looked at, as a page of a full disk: to read it would end the process."""

    def __repr__(self):
        raise AssertionError("its contents are read")

    __str__ = __format__ = __iter__ = __getitem__ = __repr__


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: (a, 1), lambda a: [1, (a,)], lambda a: {"x": [a]}])
def test_arrays_are_described_without_a_look_at_their_contents(wrap):
    assert "array of shape (3,), float64" in describe_item(wrap(np.zeros(3).view(Unreadable)))
