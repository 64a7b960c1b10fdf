"""The pool of processes behind the handle, as its callers see it. Its thread supervises the workers and feeds them.

      callers' threads -- a task, if a worker is idle --> channel per worker --> workers
              |  else: jobs -> the pool's thread -------> channel per worker --> workers
              <- futures, results <- the pool's thread <- channel per worker <--
                                     (or a caller that waits for a short moment)

`loop` is the work of the pool's thread, which `inline` has a caller do: `scheduler` hands tasks out, `intake` takes
outcomes in, `terminations` ends workers. One lock guards all of it. When a worker dies of a task, the parent looks up
how far it was, and the job decides about the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pardata.codec.object_codec import Encoded
from pardata.memory.shared_heap import shared_heap
from pardata.pool.arrays.addresses import SharedPlaces
from pardata.pool.arrays.work import Work
from pardata.pool.configuration import Setup
from pardata.pool.fed_backend import FedBackend
from pardata.pool.processes.function_store import Code, FunctionStore, describe_function
from pardata.pool.processes.inline import Inline
from pardata.pool.processes.loop import PoolLoop
from pardata.pool.worker.loop import TaskProgram
from pardata.pool.worker.shared import SharedValue
from pardata.process.imports import refuse_start_by_import
from pardata.runtime.events import Spoken
from pardata.runtime.wiring import HeapSink, encode_program


class Dispatcher(FedBackend[PoolLoop]):
    """The callers' side of a pool of processes.

    Parameters
    ----------
    on_output : callable, optional
        Told what workers say, in place of the streams here: in the pool of a node, whose home is elsewhere.
    """

    run_inline: Inline  # of `InlineRunner`, without a method in between: this is called for every result

    def __init__(self, setup: Setup, on_output: Callable[[Spoken], object] | None = None) -> None:
        super().__init__(setup, SharedPlaces())
        self._on_output = on_output
        self._functions = FunctionStore(Code)

    def start(self) -> None:
        """Have the workers started. Raises `ConfigError` if their program cannot be pickled, or a worker must not."""
        refuse_start_by_import()
        self._start(_encode_program(self.setup))  # calls into the user's code, which may want to be in this thread

    def _open(self, program: tuple[TaskProgram, Encoded]) -> PoolLoop:
        loop = PoolLoop(self.setup, program, self._life, self._lock, self.lazy, self._on_output)
        self.run_inline = loop.inline.run
        return loop

    def _work(self) -> None:
        try:
            super()._work()
        finally:
            with self._lock:
                self._functions.clear()
            self.setup.has_ended()

    @property
    def _has_to_look(self) -> bool:
        return self.setup.timeout_s is not None  # the thread ends calls that take too long

    def _hurry(self) -> None:
        """Have the workers killed."""
        self._life.is_hurried = True  # before the look: the pool's thread looks at this after it has set `_loop`
        if hasattr(self, "_loop"):
            self._loop.hurry()

    def encode(self, fn: Callable[..., Any]) -> Code:
        """Return the encoded function; errors as for `add`: a pool that has ended keeps nothing."""
        self._check_process()
        self._life.check_open()
        code: Code = self._functions.get(fn)
        return code

    def encode_work(self, work: Work, code: Code) -> Code:
        """Return the encoded work, which names its function by `code`."""
        return Code(replace(work, fn=code.wire), describe_function(work.fn), self._functions.copies, code)

    def catch_up(self) -> None:
        """Return when all that workers have said until now is shown."""
        if not self._is_copy:
            self._loop.topology.console.catch_up()

    def statistics(self) -> dict[str, Any]:
        """Return the statistics of each worker, and the longest calls."""
        self._check_process()  # the pool's thread may have held the lock
        loop = self._loop
        with self._lock:
            loop.count()
            sent_bytes, received_bytes = loop.assignments.sent_bytes, loop.log.received_bytes
            return {**loop.log.statistics(), "sent_bytes": sent_bytes, "received_bytes": received_bytes}


def _encode_program(setup: Setup) -> tuple[TaskProgram, Encoded]:
    """Return the program of every worker, and the same encoded. Raises `ConfigError` if it cannot be pickled."""
    program = TaskProgram(
        setup.name, setup.workers, setup.initializer, setup.initargs, setup.finalizer, setup.finalargs,
        setup.max_tasks_per_worker, setup.shared, setup.seed, setup.native,
    )  # fmt: skip
    what = "the pool's initializer or finalizer, or what it shares,"
    sink = HeapSink(shared_heap())
    if setup.shared is not None:
        shared = SharedValue(encode_program(setup.shared, what, program, sink, is_shared=True))
        return program, encode_program(replace(program, shared=shared), what, program, sink)
    return program, encode_program(program, what, program, sink)
