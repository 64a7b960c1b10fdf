"""The exit of a worker process that ends by itself: Python's exit functions run, as at the end of any program.

`atexit`, `weakref.finalize`, executors and `multiprocessing` rely on them: files are flushed, connections closed, and
daemonic children ended. A worker is a fork: `os._exit` alone would skip them, and `sys.exit` would tear down all
modules of the fork server, one by one.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from typing import Final, NoReturn

EXIT_S: Final = 3.0  # for all exit functions together; then they are cut off


@contextlib.contextmanager
def bounded(code: int = 0) -> Iterator[None]:
    """Exit this process with `code` if the block takes longer than `EXIT_S` seconds."""
    watchdog = threading.Timer(EXIT_S, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def end_in_peace(code: int) -> NoReturn:
    """Run the exit functions, in Python's order, and exit with `code`; after `EXIT_S` seconds in any case."""
    try:
        with bounded(code):
            threading._shutdown()  # type: ignore[attr-defined]  # joins threads, and ends executors' before
            atexit._run_exitfuncs()
    except BaseException:  # a thread could not be started, or an exit function has asked to exit
        pass
    finally:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):
                stream.flush()  # type: ignore[union-attr]
        ctypes.CDLL(None).fflush(None)  # what C code has printed
        os._exit(code)
