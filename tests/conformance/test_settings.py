"""Settings of the interpreter and of the calling thread hold in the functions of streams and pools."""

import contextvars
import decimal
import locale
import os
import socket
import sys
import threading

import numpy as np
import pytest

import pardata
from pardata.runtime.settings import settings, take_on

ENGINES = ["serial", "threads", "processes"]


def seen(_):
    """Return the settings."""
    return (
        np.geterr(), np.get_printoptions()["precision"], decimal.getcontext().prec, locale.setlocale(locale.LC_ALL),
        socket.getdefaulttimeout(), sys.getrecursionlimit(), sys.get_int_max_str_digits(), settings()["umask"],
    )  # fmt: skip


@pytest.fixture
def own():
    """Settings of this test."""
    before = settings()
    context = decimal.getcontext().copy()
    with np.errstate(divide="raise", over="ignore"):
        np.set_printoptions(precision=3)
        decimal.getcontext().prec = 5
        locale.setlocale(locale.LC_ALL, "C")
        socket.setdefaulttimeout(30)
        sys.setrecursionlimit(before["recursion"] + 100)
        sys.set_int_max_str_digits(5000)
        os.umask(0o77)
        yield
        take_on(before)
        decimal.setcontext(context)


async def seen_later(_):
    return seen(_)


@pytest.mark.parametrize("engine", ENGINES)
def test_they_hold_in_stages(own, engine):
    stream = pardata.source([1]).map(lambda _: [seen(_)]).map(lambda found: [*found, seen(0)], kind="thread")
    coroutine = pardata.source([1]).map(seen_later)
    assert list(stream.iterate(engine=engine)) == [[seen(0)] * 2]
    assert list(coroutine.iterate(engine=engine)) == [seen(0)]


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_they_hold_in_pools(own, kind):
    with pardata.WorkerPool(1, kind=kind, max_tasks_per_worker=None if kind == "thread" else 1) as pool:
        assert list(pool.map(seen, range(2), chunksize=1)) == [seen(0)] * 2


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_what_a_stage_changes_it_changes_for_itself(own, engine):
    def change(_):
        decimal.getcontext().prec = 9
        np.seterr(divide="ignore")
        return decimal.getcontext().prec

    before = seen(0)
    assert list(pardata.source([1]).map(change).iterate(engine=engine)) == [9]
    assert seen(0) == before


def test_context_variables_hold_in_threads():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    stream = pardata.source([1]).map(lambda _: variable.get(), kind="thread")
    assert [list(stream.iterate(engine=engine)) for engine in ENGINES] == [["set"]] * 3


def test_what_only_this_process_has_does_not_go_along():
    with np.errstate(divide="call"), np.printoptions(formatter={"int": str}):
        found = settings()
    assert "divide" not in found["errors"] and "formatter" not in found["printing"]


def test_runs_that_a_thread_starts_have_the_settings_of_that_thread():
    made = []

    def run():
        decimal.getcontext().prec = 7
        made.extend(pardata.source([1]).map(lambda _: decimal.getcontext().prec))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert made == [7]


def careless(x):
    np.seterr(divide="ignore")
    decimal.getcontext().prec = 7
    os.umask(0o27)
    return x


@pytest.mark.parametrize(
    ("engine", "of_thread", "of_process"), [(name, name == "serial", name != "processes") for name in ENGINES]
)
def test_what_a_function_changes_stays_changed_where_it_is_the_callers(own, engine, of_thread, of_process):
    pardata.source([1]).map(careless).run(engine=engine)
    assert np.geterr()["divide"] == ("ignore" if of_thread else "raise")
    assert decimal.getcontext().prec == (7 if of_thread else 5)
    assert settings()["umask"] == (0o27 if of_process else 0o77)
