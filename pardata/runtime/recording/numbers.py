"""Numbers with units for people, and the ticks of an axis of time. Pure."""

from __future__ import annotations

import math


def seconds_text(seconds: float) -> str:
    """Return a duration: 0.00123 -> '1.2 ms'."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds / 1e-6)} µs" if seconds > 0 else "0 s"


def rate_text(per_second: float) -> str:
    """Return a rate: 1234.5 -> '1,235'."""
    return _digits(per_second)


def _digits(value: float) -> str:
    """Return a number with about three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.2g}"


def ticks(seconds: float, most: int = 7) -> list[float]:
    """Return at most `most` round times from 0 on, evenly spaced, up to `seconds`."""
    if seconds <= 0:
        return [0.0]
    rough = seconds / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return [step * index for index in range(int(seconds / step + 1e-9) + 1)]


def tick_text(seconds: float, last: float) -> str:
    """Return the label of a tick, in the unit of the last one."""
    if last >= 1:
        return f"{seconds:g} s"
    return f"{seconds * 1e3:g} ms" if last >= 1e-3 else f"{seconds * 1e6:g} µs"
