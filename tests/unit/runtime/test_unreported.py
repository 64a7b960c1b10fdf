"""Commits are told together, but at once if their blocks hold much of the memory limit."""

from types import SimpleNamespace

import pytest

from pardata.runtime.worker.unreported import UnreportedCommits

PLAIN = [SimpleNamespace(anchors=[])]


def holding(*nbytes):
    return [SimpleNamespace(anchors=[SimpleNamespace(extent_bytes=n)]) for n in nbytes]


@pytest.mark.parametrize(
    ("claims", "due_at"),
    [
        (PLAIN, 4),
        (holding(8), 2),
        (holding(1 << 10), 2),  # just the 64th part of the limit
        (holding((1 << 10) + 1), 1),
        (holding(1 << 9, (1 << 9) + 1), 1),  # of both edges of a zip
    ],
)
def test_told_together(claims, due_at):
    unreported = UnreportedCommits((4, 2), 1 << 16, {})
    told = [unreported.add(claims) for _ in range(3 * due_at)]
    assert told == 3 * ([False] * (due_at - 1) + [True])
