"""The exit of a worker process that ends by itself: Python's exit functions run, as at the end of any program.

`atexit`, `weakref.finalize`, executors and `multiprocessing` rely on them: files are flushed, connections closed, and
daemonic children ended. A worker is a fork: `os._exit` alone would skip them, and `sys.exit` would tear down all
modules of the fork server, one by one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Final, NoReturn

from pardata.process.system import libc

EXIT_S: Final = 3.0  # for all exit functions together; then they are cut off


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Exit this process if the block takes longer than `EXIT_S` seconds."""
    watchdog = threading.Timer(EXIT_S, os._exit, (0,))
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _bound_the_end() -> None:
    """Have the kernel end this process in `EXIT_S` seconds; a thread that did would take a tenth of a small run."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
    signal.setitimer(signal.ITIMER_REAL, EXIT_S)


def end_in_peace(code: int) -> NoReturn:
    """Run the exit functions, in Python's order, and exit with `code`; after `EXIT_S` seconds in any case."""
    try:
        _bound_the_end()
        threading._shutdown()  # type: ignore[attr-defined]  # joins threads, and ends executors' before
        atexit._run_exitfuncs()
    except BaseException:  # an exit function has asked to exit
        pass
    finally:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):
                stream.flush()  # type: ignore[union-attr]
        libc().fflush(None)  # what C code has printed
        os._exit(code)
