"""A worker of a run on processes that is a thread of the process that runs it."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from typing import Any, Final

from pardata.memory.home import home
from pardata.pipeline.plan import Stage
from pardata.pipeline.programs import Program
from pardata.runtime.faults import Fault, exit_as_error
from pardata.runtime.port import Port
from pardata.runtime.program import Cancelled, StageFailure
from pardata.runtime.words import THREAD

JOIN_S: Final = 0.5  # how long it may take to come back from the user's code when the run is over


class LocalWorker:
    """A thread, its port, and the parent's end of its control socket.

    It cannot be killed, and what it has in memory is not lost while there is a run: it is never replaced.
    """

    def __init__(self, stage: Stage, program: Program, port: Port, control: socket.socket) -> None:
        self.stage = stage
        self.port = port
        self.control = control
        self.error: BaseException | None = None
        self.done = False
        self.is_abandoned = False
        self._has_ended = False
        self._lock = threading.Lock()
        self._program = program
        self.thread = threading.Thread(target=self._run, name=f"pardata-{stage.name}", daemon=True)

    def _run(self) -> None:
        self.port.words[THREAD] = threading.get_native_id()
        try:
            self._program.run(self.port)
            self.done = True
            self.port.finish()
        except Cancelled:
            return
        except StageFailure as failure:
            self._tell(failure.original, failure.fault)
        except BaseException as error:
            told = exit_as_error(error)
            self._tell(told, Fault.of(told, self.stage.name))
        finally:
            self._end()

    def _tell(self, error: BaseException, fault: Fault) -> None:
        error.add_note(fault.note)
        self.error = error
        with contextlib.suppress(Exception):  # nobody listens any more
            self.port.report(("failed", fault))

    def hear(self) -> tuple[Any, ...] | None:
        """Return what the thread has told."""
        data = self.control.recv(1 << 18)
        return pickle.loads(data) if data else None

    # -- ending ----------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ask the thread to leave."""
        with contextlib.suppress(OSError):
            self.control.send(b"cancel")

    def abandon(self) -> bool:
        """Leave the thread to itself if it lives; it gives its span back when it comes to its end."""
        with self._lock:
            self.is_abandoned = not self._has_ended
        return self.is_abandoned

    def _end(self) -> None:
        with self._lock:
            self._has_ended = True
        if self.is_abandoned:
            self.port.collector.close()
            self.port.outbox.leases.clear()
            home().return_spans([self.port.spec.span])


def stop(workers: list[LocalWorker]) -> list[LocalWorker]:
    """Cancel the threads. Return those that are held up in the user's code."""
    started = [worker for worker in workers if worker.thread.ident is not None]
    for worker in started:
        worker.cancel()
    for worker in started:
        worker.thread.join(JOIN_S)
    for worker in workers:
        if not worker.thread.is_alive():
            worker.port.collector.close()
    return [worker for worker in started if worker.abandon()]
