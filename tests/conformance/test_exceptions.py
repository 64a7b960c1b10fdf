"""An exception arrives as what it was: its type, what it holds, its notes, what it is linked with; on every engine."""

import asyncio
import dataclasses
import sys
import threading
from unittest import mock

import numpy as np
import pytest

import pardata

ENGINES = ["processes", "threads", "serial"]
LARGE = np.arange(100_000.0)  # more than a message of the control socket holds


class Broken(Exception):
    """Cannot be pickled."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Allows no changes."""

    code: int


class Coded(ExceptionGroup):
    """A group with an attribute, made by more arguments than a group has."""

    def __new__(cls, message, parts, code):
        made = super().__new__(cls, message, parts)
        made.code = code
        return made

    def derive(self, parts):
        return Coded(self.message, parts, self.code)


class Slim(ValueError):
    """Its own pickle leaves out its attributes, and so its notes."""

    def __reduce__(self):
        return Slim, self.args


def linked():
    """Have a cause with a context of its own, and notes on each."""
    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise OSError(28, "no room")  # noqa: B904
    except OSError as error:
        error.add_note("on the disk")
        made = ValueError("second")
        made.add_note("look at the exposure")
        made.__cause__ = error
        return made


def during():
    """Have a context and no cause."""
    try:
        raise KeyError("first")
    except KeyError:
        try:
            raise ValueError("second")
        except ValueError as error:
            return error


def from_none():
    try:
        raise KeyError("first")
    except KeyError:
        try:
            raise ValueError("second") from None
        except ValueError as error:
            return error


def noted():
    made = Slim("bad")
    made.add_note("one")
    made.add_note("two")
    return made


def shared_part():
    """Have one exception as the context of a group and as a part of it."""
    part = KeyError("once")
    made = ExceptionGroup("all", [part, Broken("no"), OSError(2, "gone")])
    made.__context__ = part
    return made


MAKERS = {
    "large": lambda: ValueError("of an array", LARGE),
    "group": lambda: ExceptionGroup("all", [KeyError("a"), Broken("no"), ExceptionGroup("in", [OSError(2, "gone")])]),
    "group of a subclass": lambda: Coded("all", [KeyError("a"), Broken("no")], 7),
    "group with a large part": lambda: ExceptionGroup("all", [ValueError("x", LARGE), Broken("no")]),
    "group that ends programs": lambda: BaseExceptionGroup("all", [KeyboardInterrupt(), ValueError("a")]),
    "shared part": shared_part,
    "linked": linked,
    "during": during,
    "from None": from_none,
    "noted": noted,
    "frozen": lambda: Frozen(5),
    "broken": lambda: Broken("no"),
}


def fail(name):
    raise MAKERS[name]()


def facts(error, depth=0):
    """Return what must arrive, as something that can be compared."""
    if error is None or isinstance(error, pardata.errors.RemoteTraceback) or depth > 4:
        return None
    text = str(error)
    if isinstance(error, Broken | pardata.errors.RemoteError):
        return "cannot be pickled", text.removeprefix(f"{__name__}.Broken: ")
    found = [type(error).__qualname__, text, [repr(part) for part in error.args if isinstance(part, str | int)]]
    found += [part.sum() for part in error.args if isinstance(part, np.ndarray)]
    found += [[note for note in getattr(error, "__notes__", []) if not note.startswith(("in stage", "in the call"))]]
    found += [getattr(error, "code", None)]
    if isinstance(error, BaseExceptionGroup):
        found += [[facts(part, depth + 1) for part in error.exceptions]]
        found += [[part is error.__context__ for part in error.exceptions]]
    return [*found, facts(error.__cause__, depth + 1), facts(error.__context__, depth + 1)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stage_raises_them(engine):
    for name in ("group with a large part", "linked"):
        with pytest.raises(BaseException) as caught:
            pardata.source([name]).map(fail).run(engine=engine)
        assert facts(caught.value) == facts(MAKERS[name]()), name
        assert f"in stage 'fail', item 0: {name!r}" in caught.value.__notes__


@pytest.mark.parametrize("engine", ENGINES)
def test_dead_letters_hold_them(engine):
    names = [name for name in MAKERS if name != "group that ends programs"]  # no `Exception`: it ends the run
    made = pardata.source(names).map(fail, errors="stream")
    letters = {letter.number: letter.error for letter in pardata.merge(made, made.failed).iterate(engine=engine)}
    assert {name: facts(letters[number]) for number, name in enumerate(names)} == {
        name: facts(MAKERS[name]()) for name in names
    }
    assert (
        letters[names.index("from None")].__suppress_context__
        and not letters[names.index("during")].__suppress_context__
    )


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_the_futures_of_a_pool_have_them(kind):
    with pardata.WorkerPool(1, kind=kind) as pool:
        for name, make in MAKERS.items():
            assert facts(pool.submit(fail, name).exception()) == facts(make()), name


def test_the_remote_traceback_is_the_last_cause():
    with pardata.WorkerPool(1) as pool:
        for name, causes in (("linked", 2), ("during", 1), ("frozen", 1)):
            chain = [pool.submit(fail, name).exception()]
            while chain[-1].__cause__ is not None:
                chain.append(chain[-1].__cause__)
            assert len(chain) == causes + 1 and isinstance(chain[-1], pardata.errors.RemoteTraceback)
            assert "raise MAKERS[name]()" in chain[-1].text


class Leaves(Exception):
    """Ends the program that pickles it."""

    def __reduce__(self):
        sys.exit(3)


class Interrupts:
    """Interrupts the program that pickles it, as a result or as an exception."""

    def __reduce__(self):
        raise KeyboardInterrupt


class InterruptsAsError(Interrupts, Exception):
    pass


class LeavesThere:
    """Ends the program that unpickles it."""

    def __reduce__(self):
        return sys.exit, (5,)


class Silent(Exception):
    """Does not let others look at it."""

    def __getattribute__(self, name):
        raise RuntimeError("no")


def deep():
    error = ValueError("innermost")
    for _ in range(900):
        error = ExceptionGroup("all", [error])
    return error


def own_argument():
    error = ValueError("a")
    error.args = (error,)
    return error


RESULTS = {"interrupts": Interrupts, "leaves there": LeavesThere}
ERRORS = {
    "leaves": Leaves,
    "interrupts as error": InterruptsAsError,
    "deep": deep,
    "own argument": own_argument,
    "silent": Silent,
}


def hostile(name):
    if name in ERRORS:
        raise ERRORS[name]()
    return RESULTS[name]() if name in RESULTS else name


def test_a_pool_goes_on_after_a_call_whose_error_or_result_cannot_be_carried():
    expected = {name: pardata.errors.SerializationError for name in RESULTS}
    expected |= {"leaves": Leaves, "interrupts as error": InterruptsAsError, "deep": ExceptionGroup}
    expected |= dict.fromkeys(["own argument", "silent"], pardata.errors.RemoteError)
    with pardata.WorkerPool(1) as pool:
        for name, kind in expected.items():
            error = pool.submit(hostile, name).exception(timeout=60)
            assert type(error) is kind, name
            with pytest.raises(kind):
                list(pool.map(hostile, [name], timeout=60))
            assert pool.submit(hostile, "good").result(timeout=60) == "good"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stage_skips_items_whose_error_or_result_cannot_be_carried(engine):
    names = ["leaves", "deep", "own argument", "good"]
    if engine == "processes":
        names += ["interrupts", "interrupts as error"]  # in the main thread they may be Ctrl-C
    stream = pardata.source(names).map(hostile, errors="skip").map(str)
    assert list(stream.iterate(engine=engine)) == ["good"]


def test_a_result_that_ends_whoever_loads_it_is_an_error():
    with pytest.raises(pardata.errors.SerializationError, match="SystemExit"):
        list(pardata.source(["leaves there"]).map(hostile).iterate())
    stream = pardata.source(["leaves there", "good"]).map(hostile).map(str, errors="skip")
    assert list(stream.iterate()) in (["good"], [])


# -- asyncio in functions that nobody awaits ---------------------------------------------------------------------------


async def fetch(number):
    return number


def cancel_odd(number):
    if number % 2:
        raise asyncio.CancelledError
    return number


def cancel_behind(numbers):
    yield from numbers
    raise asyncio.CancelledError


@pytest.mark.parametrize("engine", ENGINES)
def test_cancelled_error_of_a_plain_function_is_an_error_of_its_item(engine):
    numbers = pardata.source(range(4))
    assert list(numbers.map(cancel_odd, errors="skip").iterate(engine=engine)) == [0, 2]
    streams = [numbers.map(cancel_odd), numbers | cancel_behind, pardata.source(cancel_behind([1]))]
    for stream in streams:
        with pytest.raises(RuntimeError, match="raised CancelledError"):
            stream.run(engine=engine)


def test_cancelled_error_of_a_task_is_no_cancellation_of_its_caller():
    with pardata.WorkerPool(1) as pool:
        assert isinstance(pool.submit(cancel_odd, 1).exception(), RuntimeError)


@pytest.mark.parametrize("engine", ENGINES)
def test_coroutine_that_nobody_awaits_is_an_error(engine):
    numbers = pardata.source(range(4))
    around = lambda number: fetch(number)  # noqa: E731
    for stream in (numbers.map(around), numbers.filter(around), numbers.to(around), numbers.partition(around, 1)[0]):
        with pytest.raises(TypeError, match="coroutine, of 'fetch', and nobody awaits it: give the coroutine function"):
            stream.run(engine=engine)
    assert list(numbers.filter(None).iterate(engine=engine)) == [1, 2, 3]


# -- mocks, which have every attribute that they are asked for ---------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_mock_as_a_stage(engine):
    assert list(pardata.source([1, 2]).map(mock.Mock(return_value=3)).iterate(engine=engine)) == [3, 3]


def test_object_that_cannot_be_loaded_for_its_depth_is_told():
    class Endless:
        def __call__(self, item):
            return item

        def __reduce__(self):
            return load_endlessly, ()

    with pardata.WorkerPool(1) as pool:
        for function, argument in ((Endless(), 1), (str, Endless())):
            with pytest.raises(pardata.SerializationError, match=r"too deeply.*mock.*: give a plain function"):
                pool.submit(function, argument).result()
        assert pool.submit(abs, -1).result() == 1


def load_endlessly():
    return load_endlessly()
