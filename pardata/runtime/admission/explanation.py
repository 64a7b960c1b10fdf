"""The error of a worker that will never get the memory for a block: its holders, and remedies. Pure."""

from __future__ import annotations

from pardata.memory.budget import format_bytes
from pardata.runtime.admission.policy import AllocationRequest, fits_by_itself, fits_never


def explain_refusal(request: AllocationRequest, label: str, holders: str) -> str:
    """Return why there will never be enough memory: one of three reasons."""
    needed, limit = format_bytes(request.needed_bytes), format_bytes(request.limit_bytes)
    if fits_never(request):
        control = format_bytes(request.control_bytes)
        without = f" without the {control} of tables and channels" if request.control_bytes else ""
        return (
            f"{label} needs {needed} of shared memory for one array, more than the limit of {limit}{without}: "
            f"raise memory_limit="
        )
    told = (
        f"{label} needs {needed} of shared memory, but {format_bytes(request.live_bytes)} of the limit of {limit} are "
        f"in use ({holders}). "
    )
    if not fits_by_itself(request):
        return (
            f"{told}Its input and its result do not fit at once: raise memory_limit=, or have it "
            f"take one item at a time with chunksize=1"
        )
    return (
        f"{told}No stage is at work that could give memory back. Arrays that are kept by their consumer stay "
        f"in memory, also the item that a loop is at, until it has the next one: copy what you keep, keep fewer, or "
        f"raise memory_limit="
    )
