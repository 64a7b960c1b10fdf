"""The user's wishes for items that fail in a stage. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pardata.pipeline.plan.numbers import is_count, is_number

Errors = Literal["raise", "skip", "stream"]


@dataclass(frozen=True)
class ErrorPolicy:
    """The arguments of `Stream.map` that are about failures; it explains them."""

    errors: Errors = "raise"
    max_errors: int | float | None = None
    retries: int = 0
    timeout_s: float | None = None

    @property
    def tries_again(self) -> bool:
        """True if an item may be done more than once without a kill from outside."""
        return bool(self.retries) or self.timeout_s is not None

    def problem(self) -> str | None:
        """Return the first thing that is wrong with the arguments, as a sentence for an error; None if all is well."""
        limit, most = self.timeout_s, self.max_errors
        if self.errors not in ("raise", "skip", "stream"):
            return f'errors must be "raise", "skip" or "stream", not {self.errors!r}'
        if not is_count(self.retries, 0):
            return f"retries must be an int of at least 0, not {self.retries!r}"
        if limit is not None and not (is_number(limit) and limit > 0):
            return f"timeout_s must be a number above 0, not {limit!r}"
        if most is not None and not (is_count(most, 0) or (isinstance(most, float) and 0 <= most <= 1)):
            return f"max_errors must be a number of items, or a fraction of them between 0.0 and 1.0, not {most!r}"
        if most is not None and self.errors == "raise":
            return 'max_errors= goes with errors="skip" or "stream"'
        return None
