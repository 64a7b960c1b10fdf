"""The end of a run on processes: its memory and sockets go back, also if its build has failed half-way."""

from __future__ import annotations

import atexit
import weakref

from pardata.engines.processes.local_worker import stop
from pardata.engines.processes.parts import Parts
from pardata.pipeline.run import Run
from pardata.runtime.wiring import dissolve

# References without callbacks: a callback would be called in the main thread, where it swallows a Ctrl-C that comes
# just then. So a run removes itself.
open_runs: dict[int, weakref.ref[Run]] = {}


@atexit.register
def _close_all() -> None:
    for reference in list(open_runs.values()):
        run = reference()
        if run is not None:
            run.close()


def take_back(parts: Parts) -> None:
    """Stop the threads and give back memory and sockets; the processes are gone.

    A thread that does not come back from the user's code keeps its span, as it may still write there, and gives it back
    itself.
    """
    abandoned = stop(parts.threads)
    for local in abandoned:
        parts.spans.remove(local.port.spec.span)
    ports = [local.port for local in parts.threads if local not in abandoned]
    if parts.port is not None:
        ports.append(parts.port)
    parts.placed.clear()
    dissolve(parts.heap, ports, parts.spans, parts.socks)
