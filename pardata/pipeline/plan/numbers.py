"""Tests of arguments that must be numbers; those of NumPy count, and bools do not. Pure."""

from __future__ import annotations

import numpy as np


def is_number(value: object) -> bool:
    """Return whether `value` is an int or a float."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_count(value: object, least: int) -> bool:
    """Return whether `value` is an int of at least `least`."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
