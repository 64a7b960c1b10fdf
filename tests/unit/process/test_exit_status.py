"""How a process ended, in words."""

import signal

import pytest

from pardata.process.exit_status import describe_exit


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (255, "exited with code 255"),
        (-signal.SIGKILL, "killed by SIGKILL (often the out-of-memory killer)"),
        (-signal.SIGSEGV, "killed by SIGSEGV (a crash in native code)"),
        (-signal.SIGBUS, "killed by SIGBUS (a truncated file or a full file system under a mapping)"),
        (-signal.SIGABRT, "killed by SIGABRT (native code gave up)"),
        (-signal.SIGTERM, "killed by SIGTERM"),
        (-35, "killed by signal 35"),
        (None, "gone, and the fork server, dead or stopped, does not tell how"),
    ],
)
def test_end_of_a_process_is_told_in_words(status, words):
    assert describe_exit(status) == words
