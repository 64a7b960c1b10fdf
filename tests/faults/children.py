"""The end of a forked child of a test: it never comes back into the test."""

import os
import sys
import traceback


def exit_after(call, *arguments):
    """Make a call and exit: with 0, or with 1 and the traceback if it raises."""
    status = 1
    try:
        call(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
