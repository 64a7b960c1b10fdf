"""The environment variables of this process, without those that a worker has set to limit the libraries it loads.

A worker's own workers begin with these: a limit of theirs is their share of this one, not a wish of the user's.
"""

from __future__ import annotations

import os
from typing import Final

_limits: dict[str, str] = {}
CHECK_VARIABLE: Final = "PARDATA_CHECK"


def limit(variable: str, value: str) -> None:
    """Set a variable of this process that its workers are not to inherit; child processes of other kinds do."""
    os.environ[variable] = _limits[variable] = value


def working_directory() -> str | None:
    """Return the working directory of this process; None if it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def given_environment() -> dict[str, str]:
    """Return the environment as the user has set it."""
    return {name: value for name, value in os.environ.items() if _limits.get(name) != value}


def take_environment(given: dict[str, str]) -> None:
    """Make `given` the environment of this process. Variables that are the same already are left as they are."""
    present = dict(os.environ)
    for variable in present.keys() - given.keys():
        del os.environ[variable]
    for variable, value in given.items():
        if present.get(variable) != value:
            os.environ[variable] = value


def checks_writes() -> bool:
    """Return whether workers are to end where native code writes to an array that is read-only."""
    return os.environ.get(CHECK_VARIABLE) == "1"
