"""A worker that imports the user's module runs what stands at its top level, which is not to start workers again.

Those would import the module in their turn, and so on without an end. So a process that a fork server has made starts
none while it imports a module.
"""

from __future__ import annotations

import sys

from pardata.errors import ConfigError

is_worker = False  # set in the process that a fork server has forked


def refuse_start_by_import() -> None:
    """Raise `ConfigError` if this is a worker in which a module that is being imported wants to start processes."""
    if not is_worker:
        return
    frame = sys._getframe()
    while frame is not None:
        spec = frame.f_globals.get("__spec__")
        if frame.f_code.co_name == "<module>" and getattr(spec, "_initializing", False):
            name = frame.f_globals.get("__name__")
            raise ConfigError(
                f"the module {name!r} starts a run or a pool when it is imported, and a worker imports it: put what "
                f"starts it into a function, or under if __name__ == '__main__'"
            )
        frame = frame.f_back  # type: ignore[assignment]
