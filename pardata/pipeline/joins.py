"""Several streams at once: joined to one, or run together."""

from __future__ import annotations

from typing import Any, Literal

from pardata.errors import ConfigError
from pardata.pipeline.builtin_generators import pass_on
from pardata.pipeline.plan.node import Kind, Node, user_line
from pardata.pipeline.plan.ordering import Policy
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import STALL_S, Engine, RunOptions, start
from pardata.pipeline.stream import Stream
from pardata.runtime.progress import RunReport


def run(
    *streams: Stream,
    engine: Engine = "processes",
    progress: Any = False,
    tokens: int | None = None,
    memory_limit: float | None = None,
    max_restarts: int | None = None,
    stall_s: float | None = STALL_S,
) -> RunReport:
    """Run several streams at once, to the end; what they share runs once. Else as `Stream.run`."""
    options = RunOptions(progress, tokens, memory_limit, max_restarts, stall_s)
    return start(Plan(*_nodes("run", streams), iterated=False), engine, options).finish()


def zip(*streams: Stream) -> Stream:
    """Return the stream of tuples of one item of each stream, paired by item number: a fan-in.

    The streams must come from one source. If an item was dropped in one of them, its pair is dropped.
    """
    return _join(Kind.ZIP, "zip", streams, "zip")


def merge(*streams: Stream, policy: Literal["arrival", "fair", "round_robin", "ordered"] = "arrival") -> Stream:
    """Return the stream of the items of all streams; each stream's own order is kept.

    Parameters
    ----------
    policy : str
        "arrival": what comes first. "fair": of the streams that have something, each in turn, so that a flooding one
        does not delay the others. "round_robin": an item of each in turn, waiting for it; dropped items lose theirs.
        "ordered": by item number, for branches of one source: what was one stream is in its old order again.
    """
    if policy not in ("arrival", "fair", "round_robin", "ordered"):
        raise ConfigError(f'merge: policy must be "arrival", "fair", "round_robin" or "ordered", not {policy!r}')
    if policy == "round_robin":
        return _take_turns(policy, streams, policy)
    return _join(Kind.MERGE, "merge", streams, policy)


def concat(*streams: Stream) -> Stream:
    """Return the stream of all items of the first stream, then of the second, and so on; they are numbered anew.

    The streams must not have a common source: it would wait for the first to end.
    """
    return _take_turns("concat", streams, "sequence")


def _nodes(what: str, streams: tuple[Stream, ...]) -> tuple[Node, ...]:
    if not streams:
        raise ConfigError(f"{what}() needs at least one stream")
    for stream in streams:
        if not isinstance(stream, Stream):
            raise ConfigError(f"{what}() takes streams, not {type(stream).__name__}: use pardata.source(...)")
    return tuple(stream._node for stream in streams)


def _join(kind: Kind, name: str, streams: tuple[Stream, ...], policy: Policy) -> Stream:
    return Stream(Node(kind, name, None, _nodes(name, streams), policy=policy, where=user_line()))


def _take_turns(name: str, streams: tuple[Stream, ...], policy: Policy) -> Stream:
    nodes = _nodes("merge" if policy == "round_robin" else name, streams)
    return Stream(Node(Kind.PIPE, name, pass_on, nodes, thread=True, policy=policy, where=user_line()))
