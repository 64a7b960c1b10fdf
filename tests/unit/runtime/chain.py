"""A run in one process: source -> middle -> sink, and maybe a second source, "rival".

Each stage may be killed at any line, and is replaced as in a run.

A tracer ends the step of a stage at the n-th line of pardata. A SIGKILL there would leave what the step has written
to shared memory and to its sockets until then. The objects of the dead stage are dropped. So two lines between which
nothing was written are one and the same place to be killed at.
"""

import fcntl
import gc
import os
import sys
import termios
from pathlib import Path

import numpy as np

import pardata
from pardata.channel.channel import socket_pair
from pardata.channel.window import Window
from pardata.codec.batch_codec import Batch
from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.segment import Segment
from pardata.pipeline.plan.ordering import Fanin
from pardata.runtime.recording.recording_port import open_port
from pardata.runtime.wiring import WorkerImage, connect, give_tokens
from pardata.runtime.worker.spec import BudgetSpec

PACKAGE = str(Path(pardata.__file__).parent)
SPAN_BYTES = 1 << 30
TOKENS = 3
SLOTS = TOKENS + 4  # as engines.processes has it
LARGE = 4096
ROWS = 3  # arrays of a message that are copied into one block
HUGE = 1 << 19  # entries that take two huge pages


class Killed(BaseException):
    """Ends a step where a process would have been killed."""


class Lines:
    """A context in which `at` hears of each line of pardata that is reached, in front of it."""

    def __enter__(self):
        sys.settrace(self._call)
        return self

    def _call(self, frame, event, _):
        code = frame.f_code  # NumPy's hooks and finalizers cannot raise; they write to the process's own memory only
        is_hook = code.co_name in ("__array_finalize__", "__del__")
        return self._line if code.co_filename.startswith(PACKAGE) and not is_hook else None

    def _line(self, frame, event, _):
        if event == "line":
            self.at(frame)
        return self._line

    def __exit__(self, kind, *_):
        sys.settrace(None)
        return kind is Killed


class KillAtLine(Lines):
    """Ends at the `line`-th line; ``killed_at`` tells which it was."""

    def __init__(self, line):
        self._left = line
        self.killed_at = None

    def at(self, frame):
        self._left -= 1
        if self._left <= 0 and self.killed_at is None:
            self.killed_at = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
            raise Killed


class ChangingLines(Lines):
    """Counts the lines; ``first`` has the first one, and each in front of which `look()` gives something else."""

    def __init__(self, look):
        self._look, self._last = look, None
        self.count = 0
        self.first = []

    def at(self, frame):
        self.count += 1
        if (found := self._look()) != self._last:
            self.first.append(self.count)
            self._last = found


class Program:
    """As much of a program as a port needs."""

    inplace = awaits = False
    name = "program"

    def __init__(self, policy="arrival", edges=1, ordered=True):
        self._fanin = Fanin(policy, edges, ordered)

    def order(self, following):
        return self._fanin.order(following)


def value_of(arrays):
    """The number that all entries of all `arrays` have; None if there are several."""
    numbers = {float(number) for array in arrays for number in (array.min(), array.max())}
    return int(numbers.pop()) if len(numbers) == 1 else None


class Chain:
    """source -> middle =edges=> sink.

    Parameters
    ----------
    edges : int
        Channels from the middle to the sink, which takes the items of all of them together.
    farm : bool
        Whether a second worker, "other", shares the work of the middle.
    spills : bool
        Whether the items are too large for a slot, besides their arrays.
    rows : bool
        Whether a message has several arrays, which are copied into one block.
    huge : bool
        Whether the first array is so large that its block gets huge pages.
    passes_on : bool
        Whether the middle returns what it gets, or a new array.
    keeps : bool
        Whether the sink keeps all that it gets until `let_go`.
    sink_is_worker : bool
        Else the sink is the consumer in the main process, which is never killed.
    awaits : bool
        Whether the middle begins two items and hands on the one that it has begun last.
    policy : str, optional
        There is a second source, "rival", and this is how the middle takes from both.
    """

    def __init__(
        self,
        edges=1,
        farm=False,
        spills=False,
        rows=False,
        huge=False,
        passes_on=True,
        keeps=False,
        sink_is_worker=False,
        awaits=False,
        policy=None,
    ):
        self.segment = Segment.create()
        self.policy = policy
        self._parent = Arena(self.segment, Span(0, SPAN_BYTES), HEADER_BYTES, None, "main process")
        self._passes_on = passes_on
        self._keeps = keeps
        self._rest = b"x" * 70_000 if spills else b""
        self._rows, self._huge = rows, huge
        middles = ["middle", "other"] if farm else ["middle"]
        self.sources = ["source", "rival"] if policy else ["source"]
        self.names = [*self.sources, *middles, "sink"]
        self._is_worker = dict.fromkeys(self.names, True) | {"sink": sink_is_worker}
        owed = (1, 1) if farm else (4, 4)
        self._images = {
            name: WorkerImage(
                name, 0, Span((1 + index) * SPAN_BYTES, SPAN_BYTES), owed, [0, 1], not self._is_worker[name]
            )
            for index, name in enumerate(self.names)
        }
        workers = [self._images[name] for name in middles]
        sink = self._images["sink"]
        for sequence, name in enumerate(self.sources):
            told_apart = 0 if policy == "arrival" else sequence
            connect([self._images[name]], workers, told_apart, {}, SLOTS, elides_wakeups=True)
        for edge in range(edges):
            connect(workers, [sink], edge, {}, len(self.sources) * SLOTS, elides_wakeups=True)
        for sequence, name in enumerate(self.sources):
            give_tokens(self._images[name], Window(TOKENS, TOKENS), [[(sink, sequence)]])
        self._controls = {name: socket_pair() for name in self.names}
        inputs = len(self.sources) if policy not in (None, "arrival") else 1
        middle = Program(policy or "arrival", inputs, not farm and not awaits)
        middle.awaits = awaits
        self._begun = []
        self._programs = dict.fromkeys(self.sources, Program()) | dict.fromkeys(middles, middle)
        self._programs["sink"] = Program("zip", edges)
        self._ports = {}
        self._kept = []
        self.values = []  # per item of the source that the sink has processed, the number that was read in its arrays
        self.rival_values = []
        self.came = []  # in which order, by source
        self._next = dict.fromkeys(self.sources, 0)
        for name in self.names:
            self.start(name)

    def start(self, name):
        """Start a stage, or its successor."""
        self.stop(name)
        wired = self._images[name]
        arena = None if self._is_worker[name] else self._parent
        spans = [(worker.span, worker.stage) for worker in self._images.values()]
        socks = [self._controls[name][1], *wired.socks.all()]
        self._ports[name] = open_port(
            wired.spec(BudgetSpec(1 << 40, spans)), self.segment, socks, self._programs[name], arena
        )
        if name in self.sources:  # as `pipeline.programs.source.SourceProgram` does
            self._next[name] = self._ports[name].resume_point()

    def stop(self, name):
        """The objects of a stage are gone, as with its process."""
        port = self._ports.pop(name, None)
        if port is not None:
            port.collector.close()
            vars(port.collector).clear()
        if name == "sink":
            self._kept.clear()
        elif name not in self.sources:
            self._begun.clear()

    def _items(self, number):
        if self._rows:
            return [np.full(LARGE, float(number)) for _ in range(ROWS)]
        return [(np.full(HUGE if self._huge and not number else LARGE, float(number)), self._rest)]

    # -- steps -----------------------------------------------------------------------------------------------------

    def step(self, name):
        """Let a stage process one batch if it can; start it if it was killed."""
        if name not in self._ports:
            self.start(name)
        port = self._ports[name]
        port.poll()
        if name in self.sources:
            self._send(port, name)
        elif self._programs[name].awaits:
            self._overlap(port)
        else:
            self._process(port, name)

    def _send(self, port, name):
        number = self._next[name]
        has_token = port._gate.tokens.has_free or (
            port._recovery.is_successor and port._gate.tokens.holder(number) is not None
        )
        if has_token and port.outbox.has_room:  # else it would wait
            cell = port.token(number)
            items = self._items(number)
            places = [0] * len(items) if self._rows else None
            port.publish(Batch(self.sources.index(name), number, 1, cell, items, places))
            self._next[name] += 1

    def _overlap(self, port):
        begun = self._begun
        while len(begun) < 2 and (batches := port.try_begin()) is not None:
            begun += batches
        if not begun or not port.has_room_for(begun[-1]):
            port.rest(len(begun), True, bool(begun))
            port.wake(True)
            return
        batch = begun.pop()
        items, batch.items = batch.items, []
        if not self._passes_on:
            items = [(items[0][0] + 0, items[0][1])]
        port.turn_to(batch)
        port.publish(batch.with_items(items, None))
        port.commit()

    def _process(self, port, name):
        batches = port.try_take() if port.outbox.has_room else None
        if batches is None:  # as a port does before it sleeps
            port.outbox.arena.collect()
            port.collector.wait(0)
            return
        if name != "sink":
            (batch,) = batches
            items, batch.items = batch.items, []
            if not self._passes_on:
                items = [item + 0 for item in items] if self._rows else [(items[0][0] + 0, items[0][1])]
            port.publish(batch.with_items(items, batch.positions))
        else:
            arrays = [item if self._rows else item[0] for batch in batches for item in batch.items]
            value = value_of(arrays)
            (self.rival_values if batches[0].sequence else self.values).append(value)
            self.came.append(batches[0].sequence)
            if self._keeps:
                self._kept.append((value, arrays))
        port.commit()

    def step_and_kill(self, name, line):
        """Let a stage step, and kill it at this line. Return where that was; None if it came to the end of the step."""
        with KillAtLine(line) as tracer:
            self.step(name)
        if tracer.killed_at is not None:
            self.stop(name)
        return tracer.killed_at

    def places_in_a_step(self, name):
        """Let a stage step. Return the lines at which a kill would leave something else than at the line before."""
        with ChangingLines(self._left_by_a_kill) as lines:
            self.step(name)
        assert lines.count > 100, "a step is more than that"
        return lines.first

    def _left_by_a_kill(self):
        """What a successor and the others can find: shared memory, sockets, and what the sink has done."""
        fd, at, memory = self.segment.fd, 0, []
        while at < os.fstat(fd).st_size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:  # no page behind it
                break
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            memory.append((begin, os.pread(fd, at - begin, begin)))
        socks = [sock for image in self._images.values() for sock in image.socks.all()]
        socks += [sock for pair in self._controls.values() for sock in pair]
        unread = [fcntl.ioctl(sock, termios.FIONREAD, bytes(4)) for sock in socks]
        return memory, unread, len(self.values), len(self.rival_values), len(self._kept)

    def round(self):
        """One step of each stage."""
        for name in self.names:
            self.step(name)

    def drain(self, items):
        """Run until the sink has processed `items` items. A stage that comes to a standstill before fails."""
        for _ in range(8 * items):
            if len(set(self.values)) >= items:
                break
            self.round()
        assert len(set(self.values)) >= items, f"standstill after {self.values}"
        self.settle()

    def settle(self):
        """Process what is in flight; everyone hears what was given back."""
        for _ in range(3 * TOKENS):  # what is in flight, and what is given back for it
            for name in self.names[len(self.sources) :]:
                self.step(name)
            for name in self.sources:
                if name not in self._ports:
                    self.start(name)
                self._ports[name].poll()

    # -- what must hold --------------------------------------------------------------------------------------------

    def let_go(self):
        """Drop what the sink has kept; return whether it was still what it had been."""
        kept, self._kept = self._kept, []
        return all(value_of(arrays) == value for value, arrays in kept)

    @property
    def live_bytes(self):
        """The bytes that the arenas of the workers believe to be in use."""
        return sum(self._ports[name].outbox.arena.statistics()["live_bytes"] for name in self.names if name != "sink")

    @property
    def tokens_in_flight(self):
        return sum(self._ports[name]._gate.tokens.in_flight for name in self.sources)

    @property
    def slots_in_use(self):
        edges = [edge for port in self._ports.values() for edge in port.outbox.edges]
        return sum(sender.slots.outstanding for edge in edges for sender in edge.senders)

    def close(self):
        """Close the descriptors and let go of the memory."""
        for name in list(self._ports):
            self.stop(name)
        for wired in self._images.values():
            for sock in wired.socks.all():
                sock.close()
        for pair in self._controls.values():
            for sock in pair:
                sock.close()
        self.segment.close_fd()
        vars(self).clear()
        gc.collect()  # a port that was killed while it was being made still has its selector
