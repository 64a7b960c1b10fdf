"""The serial engine nests the calls of generator filters, and Python limits how deep calls may be."""

from __future__ import annotations

import sys
from typing import Final

from pardata.errors import ConfigError
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage

# A generator filter takes from the one before it by a call, so filters in a row nest: five calls each were counted on
# Python 3.11, fewer on later ones. The rest of Python's limit is for the caller and the user's functions.
_CALLS_PER_FILTER: Final = 5
_CALLS_LEFT: Final = 150
# Python 3.12 has a limit of its own for calls that go through C, as those of generators do: 200 filters, measured.
_MOST_CALLS: Final = 1000 if sys.version_info[:2] == (3, 12) else sys.maxsize


def check_nesting(plan: Plan) -> None:
    """Refuse more generator filters in a row than calls can be nested."""
    depths: dict[Stage, int] = {}
    for stage in plan.stages:
        above = max((depths[edge.stage] for edge in stage.edges), default=0)
        depths[stage] = above + (stage.kind is Kind.GENERATOR)
    deepest, calls = max(depths.values()), sys.getrecursionlimit()
    most = (min(calls, _MOST_CALLS) - _CALLS_LEFT) // _CALLS_PER_FILTER
    if deepest > most:
        more = f", or allow more by sys.setrecursionlimit({deepest * _CALLS_PER_FILTER + _CALLS_LEFT})"
        raise ConfigError(
            f"{deepest} stages in a row take the iterator of all items (generator filters, flat_map, batch and their "
            f'like); engine="serial" nests their calls, and {most} are possible: use another engine'
            f"{more if calls < _MOST_CALLS else ''}"
        )
