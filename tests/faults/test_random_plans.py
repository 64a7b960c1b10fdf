"""Workers of random graphs are killed at random: what comes out is what the serial engine gives.

`random_plans` runs as a program for more of them.
"""

from __future__ import annotations

from tests.faults.random_plans import play

KILLS = 60


def test_nothing_is_lost_or_doubled_in_any_graph() -> None:
    assert play(KILLS).kills >= KILLS
