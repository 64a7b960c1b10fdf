"""A worker as its parent knows it, over all its processes, and the error about one that is lost."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from pardata.errors import CapacityError, PardataError, WorkerLostError
from pardata.process.exit_status import describe_exit
from pardata.process.launcher import Process
from pardata.process.lifecycle import Deaths, Life, State
from pardata.runtime.header import BATCHES, BEGUN_NS, CURRENT_CALL, EXITS_NS, ITEMS, LOADING, batch_of_word
from pardata.runtime.recording.record import DeathRecord


class Limits(NamedTuple):
    """The limits of an item: seconds for one try, and how often it is begun again when they are over."""

    timeout_s: float | None = None
    retries: int = 0


class ProcessDeath(NamedTuple):
    """The death of one process: its work (CURRENT_CALL) and when that had begun, and the time, in ns (perf_counter)."""

    doing: int
    begun_ns: int
    at_ns: int
    status: int | None

    @property
    def number(self) -> int | None:
        """The number of the item at work; None: it had none."""
        batch = batch_of_word(max(0, self.doing))
        return None if batch is None else batch[1]


def _no_limits(batch: tuple[int, int]) -> Limits:
    return Limits()


class Worker:
    """A worker process of the parent, over all its lives.

    Attributes
    ----------
    shortest_s : float, optional
        The shortest time limit of an item that it may begin; None: none has one.
    limits_of : callable
        The limits of an item: (sequence, number).
    """

    def __init__(
        self,
        stage: str,
        spec_at: tuple[int, int],
        words: memoryview,
        control: socket.socket,
        child_socks: list[socket.socket],
        redoable: bool,
    ) -> None:
        self.stage = stage
        self.spec_at = spec_at
        self.words = words
        self.control = control
        self.child_socks = child_socks
        self.redoable = redoable
        self.process: Process | None = None
        self.life = Life(f"a worker of {stage!r}")
        self.deaths = Deaths()
        self.closed = False  # nothing more will come out of it
        self.restarts = 0
        self.start_at_s = 0.0  # while it is paused: when its next process is to start (time.monotonic)
        self.shortest_s: float | None = None
        self.limits_of: Callable[[tuple[int, int]], Limits] = _no_limits
        self.late: int | None = None  # the CURRENT_CALL that it was killed for

    @property
    def done(self) -> bool:
        """True once it has said that its work is done, or has failed."""
        return self.life.state is State.DONE

    @property
    def is_alive(self) -> bool:
        """True while it has a process that has not ended."""
        return self.process is not None and not self.process.ended

    @property
    def exits_since_s(self) -> float | None:
        """Time (time.monotonic) at which its exit functions began; None: they do not run."""
        return self.words[EXITS_NS] / 1e9 or None

    @property
    def doing(self) -> int:
        """The last CURRENT_CALL of its process that has ended, or LOADING if it left without being killed."""
        doing = int(self.words[CURRENT_CALL])
        status = None if self.process is None else self.process.status
        return LOADING if doing == 0 and status is not None and status >= 0 else doing

    def note_death(self) -> None:
        """Keep what its process was at when it ended."""
        status = None if self.process is None else self.process.status
        self.deaths.noted.append(ProcessDeath(self.doing, int(self.words[BEGUN_NS]), time.perf_counter_ns(), status))

    @property
    def finished(self) -> int:
        """The number of batches that its processes have finished; of a source, of items that it has sent."""
        return int(self.words[BATCHES] + self.words[ITEMS])

    def late_in_s(self, doing: int) -> float:
        """Return the seconds until it may be late with `doing`, its CURRENT_CALL, or with the next one.

        Not positive: it is late. SYNC POINT: begun. The call was read before the time is: if the worker goes on
        meanwhile, the time is too young, not too old.
        """
        assert self.shortest_s is not None
        batch = batch_of_word(max(0, doing))
        if batch is None or doing == self.late:
            return self.shortest_s
        timeout_s = self.limits_of(batch).timeout_s
        if timeout_s is None:
            return self.shortest_s
        return timeout_s - (time.monotonic_ns() - self.words[BEGUN_NS]) / 1e9

    def __repr__(self) -> str:
        return f"<Worker of {self.stage!r}: {self.life.state.value}, {self.process!r}, {self.restarts} restarts>"


class Lost:
    """A worker that will not be replaced as things are, the batch it worked on, and the reason in words.

    Attributes
    ----------
    batch : (int, int) or None
        Sequence and number of the batch that it worked on; None: it was starting, or waited for work.
    timeout_s : float
        Not 0: it was killed because it took longer than that.
    spent : int or None
        So many workers of the run have been replaced, and no more may be.
    refusal : CapacityError or None
        The system has no process for its successor.
    """

    def __init__(
        self,
        worker: Worker,
        batch: tuple[int, int] | None,
        deaths: int,
        timeout_s: float = 0.0,
        spent: int | None = None,
        refusal: CapacityError | None = None,
    ) -> None:
        self.worker = worker
        self.batch = batch
        self.deaths = deaths
        self.status = None if worker.process is None else worker.process.status
        self.peak_bytes = None if worker.process is None else worker.process.peak_bytes
        self.timeout_s = timeout_s
        self.spent = spent
        self.refusal = refusal

    @property
    def how(self) -> str:
        """The end of its last process, in words."""
        return describe_exit(self.status)

    @property
    def what(self) -> str:
        """The work at which its processes were lost, in words."""
        if self.batch is not None:
            return f"they worked on item {self.batch[1]}"
        return "they were starting" if self.worker.doing == LOADING else "they waited for work"

    def error(self, label: str) -> PardataError:
        """Return the error to raise: the event, its likely cause, and a remedy."""
        if self.refusal is not None:
            return self.refusal
        return WorkerLostError(self._message(label))

    def _message(self, label: str) -> str:
        if self.spent is not None:
            return (
                f"{label}: a worker process was {self.how}, and max_restarts={self.spent} of the run have been used up"
            )
        if not self.worker.redoable and self.worker.doing != LOADING:
            return f"{label}: its process was {self.how}; the state of its generator is lost, so it cannot be replaced"
        row = " in a row" if self.batch is None else ""
        lost = f"{label}: {self.deaths} worker processes{row} were lost while {self.what}, the last one {self.how}."
        if self.batch is None and self.worker.doing != LOADING:
            return f"{lost} Something ends them from outside: the out-of-memory killer, a job's limit, a watchdog?"
        return f"{lost} Either this makes the function crash or exit, or it needs more memory than there is"


def deaths_of(workers: list[Worker]) -> list[DeathRecord]:
    """Return the deaths of all workers, in the order of time."""
    indices: dict[str, int] = {}
    found = []
    for worker in workers:
        index = indices[worker.stage] = indices.get(worker.stage, -1) + 1
        found += [
            DeathRecord(worker.stage, index, death.number, death.begun_ns, death.at_ns, describe_exit(death.status))
            for death in worker.deaths.noted
        ]
    return sorted(found, key=lambda death: death.at_ns)
