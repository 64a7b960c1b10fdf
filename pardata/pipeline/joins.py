"""Functions of several streams: they join them to one, or run them together."""

from __future__ import annotations

import os
from typing import Any, Literal

from pardata.errors import ConfigError
from pardata.pipeline.builtin_generators import PassedOn
from pardata.pipeline.going_on import run_on
from pardata.pipeline.never_run import note_run
from pardata.pipeline.plan.node import Kind, Node, user_line
from pardata.pipeline.plan.ordering import Policy
from pardata.pipeline.run import STALL_S, Engine, RunOptions, plan_of
from pardata.pipeline.stream import Stream
from pardata.runtime.option_names import OF_STAGES, tells_options
from pardata.runtime.progress import RunReport


@tells_options(OF_STAGES)
def run(
    *streams: Stream,
    engine: Engine = "processes",
    progress: Any = False,
    tokens: int | None = None,
    memory_limit: float | str | None = None,
    max_restarts: int | None = None,
    stall_s: float | None = STALL_S,
    seed: int | None = None,
    record: bool = False,
    dashboard: bool = False,
    cores: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    restart: bool = False,
) -> RunReport:
    """Run several streams at once, to the end; stages that they share run once. Return the report.

    Parameters
    ----------
    *streams : Stream
        At least one. What comes out of them is dropped: give them sinks (`Stream.to`) to keep it.
    engine, progress, tokens, memory_limit, max_restarts, stall_s, seed, record, dashboard, cores
        As for `Stream.iterate`.
    checkpoint, restart
        As for `Stream.run`.

    Returns
    -------
    RunReport
        A row per stage of all streams.

    Raises
    ------
    ConfigError, CapacityError, WorkerLostError, DeadlineExceeded, Exception
        As for `Stream.run`; ConfigError also for an argument that is no stream.

    Examples
    --------
    >>> import pardata
    >>> numbers, halves, doubles = pardata.source([2, 4]), [], []
    >>> report = pardata.run(numbers.map(lambda n: n // 2).to(halves), numbers.map(lambda n: n * 2).to(doubles))
    >>> halves, doubles
    ([1, 2], [4, 8])
    """
    nodes = _nodes("run", streams)
    for node in nodes:
        note_run(node)
    options = RunOptions(
        progress=progress, tokens=tokens, memory_limit=memory_limit, max_restarts=max_restarts, stall_s=stall_s,
        seed=seed, record=record, dashboard=dashboard, cores=cores,
    )  # fmt: skip
    return run_on(plan_of(*nodes, iterated=False, options=options), engine, options, checkpoint, restart)


def zip(*streams: Stream, by: Literal["number", "position"] = "number") -> Stream:
    """Return the stream of tuples of one item of each stream, paired by item number: a fan-in.

    Parameters
    ----------
    *streams : Stream
        At least one. If an item was dropped in one of them, its pair is dropped.
    by : "number" or "position"
        "number": the streams come from one source, and no stage in between numbers items anew (a generator filter,
        `batch`, `window`, `flat_map`, `concat`). "position": they come from several sources, and the first items of
        all are a tuple, the second ones, and so on: an item that a filter or ``errors="skip"`` has dropped keeps its
        place. The tuples are numbered anew.

    Returns
    -------
    Stream
        Each item is a tuple with as many entries as there are streams, in the order of the source.

    Raises
    ------
    ConfigError
        There is no stream, an argument is none, or `by` is neither.
    PlanError
        When the stream is run: the streams cannot be paired by number; or by position, as they have a common source.
    LossError
        While the stream runs: streams that are paired by position have different numbers of items.

    Examples
    --------
    >>> import pardata
    >>> numbers = pardata.source([1, 2, 3])
    >>> list(pardata.zip(numbers, numbers.map(float)))
    [(1, 1.0), (2, 2.0), (3, 3.0)]
    >>> images, masks = pardata.source(["a", "b"]), pardata.source(["mask of a", "mask of b"])
    >>> list(pardata.zip(images, masks, by="position"))
    [('a', 'mask of a'), ('b', 'mask of b')]
    """
    if by not in ("number", "position"):
        raise ConfigError(f'zip: by must be "number" or "position", not {by!r}')
    return _join(Kind.ZIP, "zip", streams, "zip") if by == "number" else _take_turns("zip", streams, "position")


def merge(*streams: Stream, policy: Literal["arrival", "fair", "round_robin", "ordered"] = "arrival") -> Stream:
    """Return the stream of the items of all streams; each stream's own order is kept.

    Parameters
    ----------
    *streams : Stream
        At least one, of any sources.
    policy : "arrival", "fair", "round_robin" or "ordered"
        "arrival": the message that comes first. "fair": of the streams that have a message, each in turn, so that a
        flooding one does not delay the others. "round_robin": an item of each in turn, waiting for it; a dropped item
        loses its turn. "ordered": by item number, for branches of one source: they are in their old order again.

    Raises
    ------
    ConfigError
        There is no stream, an argument is none, or there is no such policy.
    PlanError
        When the stream is run: "ordered" and streams of several sources, or "round_robin" and streams of one source.

    Examples
    --------
    >>> import pardata
    >>> left, right = pardata.source([1, 2]), pardata.source([10, 20])
    >>> list(pardata.merge(left, right, policy="round_robin"))
    [1, 10, 2, 20]
    """
    if policy not in ("arrival", "fair", "round_robin", "ordered"):
        raise ConfigError(f'merge: policy must be "arrival", "fair", "round_robin" or "ordered", not {policy!r}')
    if policy == "round_robin":
        return _take_turns(policy, streams, policy)
    return _join(Kind.MERGE, "merge", streams, policy)


def concat(*streams: Stream) -> Stream:
    """Return the stream of all items of the first stream, then of the second, and so on; they are numbered anew.

    Parameters
    ----------
    *streams : Stream
        At least one. They must not have a common source: it would wait for the first stream to end.

    Raises
    ------
    ConfigError
        There is no stream, or an argument is none.
    PlanError
        When the stream is run: two streams have a common source.

    Examples
    --------
    >>> import pardata
    >>> list(pardata.concat(pardata.source([1, 2]), pardata.source([3])))
    [1, 2, 3]
    """
    return _take_turns("concat", streams, "sequence")


def _nodes(what: str, streams: tuple[Stream, ...]) -> tuple[Node, ...]:
    if not streams:
        raise ConfigError(f"{what}() needs at least one stream")
    for stream in streams:
        if not isinstance(stream, Stream):
            is_list = isinstance(stream, list | tuple) and any(isinstance(part, Stream) for part in stream)
            way = f"unpack it, {what}(*streams)" if is_list else "use pardata.source(...)"
            raise ConfigError(f"{what}() takes streams, not {type(stream).__name__}: {way}")
    return tuple(stream._node for stream in streams)


def _join(kind: Kind, name: str, streams: tuple[Stream, ...], policy: Policy) -> Stream:
    return Stream(Node(kind, name, None, _nodes(name, streams), policy=policy, where=user_line()))


def _take_turns(name: str, streams: tuple[Stream, ...], policy: Policy) -> Stream:
    nodes = _nodes("merge" if policy == "round_robin" else name, streams)
    return Stream(Node(Kind.GENERATOR, name, PassedOn(), nodes, workplace="thread", policy=policy, where=user_line()))
