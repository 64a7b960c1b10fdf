"""What the system refuses is told with how much was needed, the limit, and what to change."""

import errno
import os

import pytest

from pardata.errors import CapacityError
from pardata.process.capacity import explained, loading, refusal


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EMFILE, r"a worker needs 40 file descriptors; this process has \d+ open and may have \d+.*`ulimit -n`"),
        (errno.ETOOMANYREFS, r"a worker needs 40 file descriptors.*`ulimit -n`"),
        (errno.ENFILE, "a worker needs file descriptors, and the whole system has no more.*fs.file-max"),
        (errno.EAGAIN, r"a worker could not be started: the system refuses another process.*`ulimit -u`.*pids.max"),
        (errno.ENOMEM, "a worker could not be started: the system has no memory for it"),
    ],
)
def test_a_refusal_is_told_in_words(number, text):
    error = refusal(number, "a worker", 40)
    assert isinstance(error, CapacityError)
    with pytest.raises(CapacityError, match=text) as raised, explained("a worker", 40):
        raise OSError(number, os.strerror(number))
    assert isinstance(raised.value.__cause__, OSError)


def test_other_errors_of_the_system_are_not_touched():
    with pytest.raises(PermissionError), explained("a worker"):
        raise PermissionError(errno.EPERM, "no")


NO_FILES = os.strerror(errno.EMFILE)
LOADS = {
    "a file": (OSError(errno.EMFILE, NO_FILES, "numpy/linalg.py"), "the first use needs 1 file descriptor;.*ulimit -n"),
    "a library": (ImportError(f"_core.so: cannot open shared object file: {NO_FILES}"), "the first use needs 1 file "),
    "no memory": (MemoryError(), "the first use could not be started: the system has no memory for it"),
    "a library without memory": (
        ImportError(f"_core.so: failed to map segment from shared object: {os.strerror(errno.ENOMEM)}"),
        "no memory for it",
    ),
    "a thread": (RuntimeError("can't start new thread"), "a thread of the first use could not be started.*ulimit -u"),
}


@pytest.mark.parametrize("kind", LOADS)
def test_a_module_that_the_system_cannot_load_is_told_in_words(kind):
    error, text = LOADS[kind]
    with pytest.raises(CapacityError, match=text), loading("the first use"):
        raise error


@pytest.mark.parametrize("error", [ImportError("no"), ModuleNotFoundError("numpy"), CapacityError("no room")])
def test_other_errors_of_an_import_are_not_touched(error):
    with pytest.raises(type(error)) as raised, loading("the first use"):
        raise error
    assert raised.value is error
