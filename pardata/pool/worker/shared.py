"""The value that a pool shares with its workers (``shared=``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pardata.codec.code import decode_code
from pardata.codec.object_codec import Encoded

Array = np.ndarray[Any, Any]


class SharedValue:
    """Stands for the value in a worker's program, of which it is encoded apart.

    A function's arrays are the own state of each worker; those of the value are one for all, and read-only.
    """

    def __init__(self, encoded: Encoded) -> None:
        self._payload = encoded.payload
        self._blocks = [_frozen(block) for block in encoded.anchors]

    def open(self) -> Any:
        """Return the value; its large arrays are views of the shared blocks."""
        return decode_code(self._payload, self._blocks)  # type: ignore[arg-type]


def _frozen(block: Array) -> Array:
    made = np.ndarray(block.shape, block.dtype, block)
    made.setflags(write=False)
    return made
