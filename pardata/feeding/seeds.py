"""Seeds of a loader's random numbers: each purpose, epoch, batch and item has its own. Pure.

Source: spawn keys of numpy.random.SeedSequence
"""

from __future__ import annotations

from typing import Final

import numpy as np

ORDER, BATCH, ITEM, RUN = range(4)  # the purposes

_WORDS: Final = 4


def words_of(seed: int, purpose: int, *numbers: int) -> list[int]:
    """Return four words of 32 random bits."""
    made = np.random.SeedSequence(seed, spawn_key=(purpose, *numbers)).generate_state(_WORDS)
    return [int(word) for word in made]


def number_of(seed: int, purpose: int, *numbers: int) -> int:
    """Return an integer of 63 random bits, which every library takes as a seed."""
    low, high = words_of(seed, purpose, *numbers)[:2]
    return (high << 32 | low) >> 1


def new_seed() -> int:
    """Return another seed at every call."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) >> 1
