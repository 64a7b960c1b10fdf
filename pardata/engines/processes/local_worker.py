"""A worker of a run on processes that is a thread of the process that runs it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

from pardata.engines.local import original_error
from pardata.memory.shared_heap import set_thread_arena, shared_heap
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.build import StageProgram
from pardata.process.lifecycle import Action, Event, Life, State
from pardata.runtime.events import Closed, Failed, WorkerEvent, receive_event
from pardata.runtime.faults import Fault, exit_as_error
from pardata.runtime.header import LEAVE
from pardata.runtime.library_limits import limit_thread
from pardata.runtime.settings import as_here
from pardata.runtime.worker.port import WorkerPort
from pardata.runtime.worker.program import Cancelled, StageFailure

JOIN_S: Final = 0.5  # for a thread to come back from the user's code when the run is over


class LocalWorker:
    """A thread, its port, and the parent's end of its control socket.

    A thread cannot be killed, and its memory is that of the run, so it is never replaced. A thread that does not come
    back from the user's code is abandoned; it gives its span back itself when it ends.
    """

    def __init__(
        self, stage: Stage, program: StageProgram, port: WorkerPort, control: socket.socket, cores: int
    ) -> None:
        self.stage = stage
        self.port = port
        self.control = control
        self.error: BaseException | None = None
        self.life = Life(f"a thread of {stage.name!r}")
        self._lock = threading.Lock()  # of its life: the thread itself and the parent change it
        self._program = program
        self._has_closed = False  # its outputs, as it has told
        self._cores = cores
        self.thread = threading.Thread(target=as_here(self._run), name=f"pardata-{stage.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._on(Event.STARTED)
        self.thread.start()

    @property
    def closed(self) -> bool:
        """True once nothing more will come out of it."""
        return self._has_closed or self.life.state in (State.DONE, State.ENDED)

    def _on(self, event: Event) -> Action:
        with self._lock:
            return self.life.on(event)

    def _run(self) -> None:
        self.port.enter_thread()
        limit_thread(self._cores)
        set_thread_arena()
        end = Event.DIED
        try:
            self._program.run(self.port)
            self._on(Event.SAID_DONE)
            self.port.finish()
        except Cancelled:
            return
        except StageFailure as failure:
            end = self._tell(failure.original, failure.fault)
        except BaseException as error:
            told = exit_as_error(error)
            end = self._tell(told, Fault.of(told, self.stage.name))
        finally:
            if self._end(end) is Action.CLEAN_UP:
                self.port.collector.close()
                self.port.outbox.leases.clear()
                shared_heap().return_spans([self.port.spec.span])

    def _tell(self, error: BaseException, fault: Fault) -> Event:
        self.error = original_error(error, fault)
        with contextlib.suppress(Exception):  # the parent may have closed its end
            self.port.report(Failed(fault))
        return Event.DIED_FOR_GOOD

    def _end(self, end: Event) -> Action:
        with self._lock:  # a thread that was told to end, or is done, cannot fail any more
            return self.life.on(end if self.life.state is State.ALIVE else Event.DIED)

    def hear(self) -> WorkerEvent | None:
        """Return the next event that the thread reports; None after the last."""
        event = receive_event(self.control)
        if isinstance(event, Closed):
            self._has_closed = True
        return event

    # -- ending ----------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ask the thread to leave."""
        if self._on(Event.STOP) is Action.ASK:
            self.port.words[LEAVE] = 1
            with contextlib.suppress(OSError):
                self.control.send(b"cancel")

    def abandon(self) -> bool:
        """Give up a living thread that was asked to leave; return whether it lives."""
        with self._lock:
            if self.life.state is not State.STOPPING:
                return False
            self.life.on(Event.ABANDON)
            return True


def stop(workers: list[LocalWorker]) -> list[LocalWorker]:
    """Cancel the threads. Return those that are held up in the user's code."""
    for worker in workers:
        worker.cancel()
    for worker in workers:
        if worker.thread.ident is not None:
            worker.thread.join(JOIN_S)
    abandoned = [worker for worker in workers if worker.abandon()]
    for worker in workers:
        if worker not in abandoned:
            worker.port.collector.close()
    return abandoned
