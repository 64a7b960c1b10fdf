"""What the system refuses is told with how much was needed, the limit, and what to change."""

import errno
import os

import pytest

from pardata.errors import CapacityError
from pardata.process.capacity import explained, refusal


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EMFILE, r"a worker needs 40 file descriptors; this process has \d+ open and may have \d+.*`ulimit -n`"),
        (errno.ETOOMANYREFS, r"a worker needs 40 file descriptors.*`ulimit -n`"),
        (errno.ENFILE, "a worker needs file descriptors, and the whole system has no more.*fs.file-max"),
        (errno.EAGAIN, r"a worker could not be started: the system refuses another process.*`ulimit -u`.*pids.max"),
        (errno.ENOMEM, "a worker could not be started: the system has no memory for another process"),
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
