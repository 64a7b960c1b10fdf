"""The memory and sockets of a run: a span for every worker, a channel for every pair of neighbours."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from pardata.channel.channel import CAN_ELIDE_WAKEUPS, FARM_WINDOW
from pardata.channel.window import Window
from pardata.channel.words import AREA_BYTES, RECORD_BYTES, words_bytes
from pardata.codec.access import Access
from pardata.engines.processes.parts import Parts
from pardata.errors import CapacityError, ConfigError, PlanError
from pardata.memory.arena import Span
from pardata.memory.budget import format_bytes
from pardata.memory.segment import PAGE_BYTES
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.generator import is_redoable
from pardata.pipeline.source_items import is_factory
from pardata.process.capacity import free_descriptors
from pardata.runtime.admission.inflight import InFlightSpec
from pardata.runtime.header import MOST_SEQUENCES
from pardata.runtime.recording.recorder import record_sizes
from pardata.runtime.wiring import WorkerImage, connect, give_tokens
from pardata.runtime.worker.spec import CHANNELS_AT, OwnAreas

# A worker tells its sender of several commits at once, as each notice wakes the sender. Until then the sender lacks
# slots, tokens and (warm) blocks.
_MOST_OWED: Final = 16
_MOST_OWED_BLOCKS: Final = 4
# A successor can find one token retired before its predecessor's commit, so one more message may be in flight.
_SPARE_SLOTS: Final = 4
_ALONE: Final = 16  # messages of several items, of the only worker at work
_CHANNELS_SHARE: Final = 16  # of the memory limit, for channels to workers that may never be needed
_STATE_BYTES: Final = 4 << 30  # of address space, for two copies of the state that a generator filter saves


def runs_here(stage: Stage) -> bool:
    """Return whether the workers of a stage are threads of the process that runs it.

    They are in a source that reads an object of this process, and where the user has asked for it.
    """
    reads_object = stage.kind is Kind.SOURCE and not is_factory(stage.fn)
    return reads_object or stage.node.thread


def fit_into(plan: Plan, most_workers: int, limit: int) -> None:
    """Narrow stages with workers="auto" to half of the room and the descriptors that there are, and a part of memory.

    A sender has some memory for each worker behind it, also before that one has a process. Raises `PlanError` or
    `ConfigError` for a plan that no run has room for.
    """
    if len(plan.roots) > MOST_SEQUENCES:
        raise PlanError(
            f"{len(plan.roots)} sources, generator filters and merged branches; {MOST_SEQUENCES} are possible"
        )
    descriptors = free_descriptors()
    while True:
        workers = sum(stage.workers for stage in plan.worker_stages)
        channels = sum(stage.workers * edge.stage.workers for stage in plan.stages for edge in stage.edges)
        has_room = 2 * workers <= most_workers and 2 * descriptors_of(plan) <= descriptors
        if has_room and _CHANNELS_SHARE * channels * words_bytes(0) <= limit:
            return
        if not plan.share.stages or plan.share.each == 1:  # those that the user has asked for
            break
        plan.narrow(min(most_workers, plan.share.each - 1))
    if 1 + workers > most_workers:
        raise ConfigError(
            f"the stream has {len(plan.worker_stages)} stages with {workers} workers together; engine="
            f'"processes" has room for {most_workers - 1} of all runs and pools: take fewer, or engine="threads"'
        )


def descriptors_of(plan: Plan) -> int:
    """Return how many descriptors a run needs in this process: both ends of each socket, and two for a process."""
    pairs = sum(
        stage.workers * (1 + sum(edge.stage.workers for edge in stage.edges))
        + sum(terminal.workers for terminal in plan.stages for sequence in terminal.retired_sequences
              if stage.own_sequence is not None and plan.roots[sequence] == stage.own_sequence)
        for stage in plan.stages
    )  # fmt: skip
    here = sum(stage.workers for stage in plan.worker_stages if runs_here(stage))
    processes = sum(stage.workers for stage in plan.worker_stages) - here
    consumer = 1 if plan.iterated else 3  # its selector, and its control sockets where it is no stage of the plan
    output = 2
    passing = 1 if processes else 0  # while a process is started
    return 2 * pairs + 2 * processes + here + consumer + output + passing


def fitting(window: Window, plan: Plan, span_bytes: int) -> Window:
    """Return the window, narrowed if the spans have too few addresses for all its messages.

    Spans are small where the addresses of the process are limited; half of each is left for arrays. Raises
    `CapacityError` if there is no room for the fewest messages that keep all workers busy.
    """
    slots = (span_bytes // 2 - CHANNELS_AT) // (AREA_BYTES + RECORD_BYTES)
    behind: Counter[Stage] = Counter()
    per_message: Counter[Stage] = Counter()
    for stage in plan.stages:
        for edge in stage.edges:
            behind[edge.stage] += stage.workers
            per_message[edge.stage] += stage.workers * len(edge.stage.sequences)
    most = window.most
    for stage, channels in behind.items():
        most = min(most, (slots - channels * (_MOST_OWED + _SPARE_SLOTS)) // per_message[stage])
        if most < window.fewest:
            raise CapacityError(
                f"stage {stage.name!r} has {channels} workers behind it and at least {window.fewest} messages in "
                f"flight: that needs more addresses than the {format_bytes(span_bytes)} that each worker of this "
                f"process can have. Ask for fewer workers or tokens, or raise the limit of addresses (`ulimit -v`)"
            )
    return replace(window, most=most)


class Layout:
    """Spans, channels and sockets of a run. They are the run's `Parts` from the start: the memory may not suffice.

    Attributes
    ----------
    workers_of : dict
        The workers of each stage.
    consumer : WorkerImage
        The end from which the caller's loop reads; without a loop, the supervisor's own port, which takes nothing.
    workers, processes : list of WorkerImage
        All but the consumer; and those of them that are processes of their own.
    spares : set of WorkerImage
        Those that have no process before they are needed.
    budgeted : list of (Span, str)
        The spans whose bytes the run's memory limit counts, and their names in errors.
    inflight : InFlightSpec
        The places from which any worker can read the number of messages in flight.
    """

    def __init__(self, plan: Plan, window: Window, parts: Parts, record: bool = False) -> None:
        self._plan = plan
        self._parts = parts
        self._window = window = fitting(window, plan, parts.heap.span_bytes)
        accesses = {plan.access(stage) for stage in plan.stages}
        self._writers = Access.INPLACE if Access.INPLACE in accesses else max(accesses)
        self.workers_of = {stage: self._workers(stage) for stage in plan.stages}
        everybody = [worker for workers in self.workers_of.values() for worker in workers]
        try:
            for stage in plan.stages:
                self._connect(stage)
            for stage in plan.stages:
                self._give_state_and_tokens(stage)
        finally:  # also if there were too few descriptors
            for worker in everybody:
                parts.socks += worker.socks.all()
        if plan.iterated:
            self.consumer = self.workers_of[plan.last][0]
        else:
            self.consumer = WorkerImage("consumer", 0, parts.take_span(), (1, 1), [], True)
        self.workers = [worker for worker in everybody if worker is not self.consumer]
        self.spares = {worker for stage in plan.stages if stage.is_auto for worker in self.workers_of[stage][1:]}
        if record:
            stages = plan.worker_stages
            for stage, nbytes in zip(stages, record_sizes([stage.workers for stage in stages]), strict=True):
                for worker in self.workers_of[stage]:
                    worker.record_in(nbytes)
        self.processes = [worker for worker in everybody if not worker.in_parent]
        self.budgeted = [(worker.span, f"stage {worker.stage!r}") for worker in self.workers]
        self.budgeted += [(span, "the main process") for span in (self.consumer.span, parts.heap.arena.span)]
        self.inflight = self._inflight()

    def _workers(self, stage: Stage) -> list[WorkerImage]:
        sequences = sorted(stage.taken_sequences | stage.sequences)
        is_consumer = self._plan.is_consumer(stage)
        here = is_consumer or runs_here(stage)
        window = self._window
        owed = (1, 1)  # the sender to a farm goes by the commits of its workers
        if stage.workers == 1:
            with_blocks = 1 if is_consumer else _MOST_OWED_BLOCKS  # its loop may take long
            owed = max(1, min(_MOST_OWED, window.most // 4)), max(1, min(with_blocks, window.fewest // 4))
        return [
            WorkerImage(stage.name, index, self._parts.take_span(), owed, sequences, here, self._writers)
            for index in range(stage.workers)
        ]

    def _give_state_and_tokens(self, stage: Stage) -> None:
        first = self.workers_of[stage][0]
        if stage.kind is Kind.GENERATOR and is_redoable(stage):
            nbytes = min(_STATE_BYTES, self._parts.heap.span_bytes // 4)
            first.areas = OwnAreas(state=(first.take(nbytes), nbytes))
            first.touched += PAGE_BYTES
        if stage.own_sequence is not None:
            give_tokens(first, self._window, self._terminals(stage.own_sequence))

    def _connect(self, stage: Stage) -> None:
        for index, edge in enumerate(stage.edges):
            slots = self._window.most * len(edge.stage.sequences) + _MOST_OWED + _SPARE_SLOTS
            senders = self.workers_of[edge.stage]
            told_apart = index if stage.fanin.edges > 1 else 0
            readers, ahead = self.workers_of[stage], stage.node.lanes + 1
            alone = self._alone(stage) if stage.is_auto else None
            connect(senders, readers, told_apart, edge.renamed, slots, edge.branch, CAN_ELIDE_WAKEUPS, ahead, alone)

    def _alone(self, stage: Stage) -> int:
        """Return how many messages of several items the first worker of a stage may have while the others rest.

        By itself a run makes such messages of items that take less than 2 ms together, and so many of them are done
        before another worker begins. To wait for each costs a third of what it takes to pass the smallest ones on.
        """
        sizes = [self._plan.chunksizes[self._plan.roots[sequence]] for sequence in stage.taken_sequences]
        return FARM_WINDOW if any(sizes) else _ALONE

    def _terminals(self, root: int) -> list[list[tuple[WorkerImage, int]]]:
        return [
            [(worker, sequence) for worker in self.workers_of[stage]]
            for stage in self._plan.stages
            for sequence in sorted(stage.retired_sequences)
            if self._plan.roots[sequence] == root
        ]

    def _inflight(self) -> InFlightSpec:
        sources: list[Span] = []
        stages: list[Span] = []
        tables = {}
        for stage, workers in self.workers_of.items():
            spans = sources if stage.kind is Kind.SOURCE else stages
            spans += [worker.span for worker in workers if worker is not self.consumer]
            if stage.own_sequence is not None and workers[0].tokens is not None:
                tables[stage.own_sequence] = workers[0].tokens
        return InFlightSpec(self._plan.roots, tables, sources, stages, self.consumer.span)
