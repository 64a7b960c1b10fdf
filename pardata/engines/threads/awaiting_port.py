"""The port of a thread that awaits the calls for its items, as `runtime.worker.awaiting_port` for processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from pardata.codec.batch_codec import Batch
from pardata.engines.threads.hub import Hub
from pardata.engines.threads.inbox import Bell, Inbox
from pardata.engines.threads.port import ThreadPort
from pardata.pipeline.plan.stage import Stage

_LONG_S: Final = 3600.0  # it is woken when there is something


class AwaitingThreadPort(ThreadPort):
    """A port whose thread rests in its event loop until there is news."""

    def __init__(self, hub: Hub, stage: Stage, inbox: Inbox, index: int) -> None:
        super().__init__(hub, stage, inbox, index)
        self._found: list[Batch] | None = None

    @contextlib.contextmanager
    def watched(self, news: Callable[[], None]) -> Iterator[None]:
        """Have the running event loop call `news` whenever there may be a batch, and at the end of the run."""
        ring = partial(asyncio.get_running_loop().call_soon_threadsafe, news)
        bell = self._inbox.changed
        assert isinstance(bell, Bell)
        with self._hub.lock:
            bell.rings.append(ring)
        try:
            yield
        finally:
            with self._hub.lock:
                bell.rings.remove(ring)

    def try_begin(self) -> list[Batch] | None:
        """Return the next batch, or one of each edge of a zip, if it is here; others may be at work."""
        found, self._found = self._found, None
        with self._hub.lock:
            found = self._inbox.take_next() if found is None else found
        if self._hub.is_disturbed:
            self._look_for_failed_items(found or [])
        return found

    @property
    def at_end(self) -> bool:
        """Whether nothing more will come."""
        with self._hub.lock:
            if self._found is None:
                self._found = self._inbox.take_next()  # it may have come, with the end of its sender, since `try_begin`
            return self._found is None and not any(self._inbox.senders)

    def has_room_for(self, batch: Batch) -> bool:
        """Return True: an inbox takes what comes."""
        return True

    def turn_to(self, batch: Batch) -> None:
        """Say which of the batches that were begun is published and committed next."""
        self._taken = batch.sequence, batch.number

    def makes_one_call(self) -> bool:
        """Return False: a thread is never lost."""
        return False

    def step(self, item: tuple[int, int]) -> None:
        """Do nothing: a thread is never lost."""

    def pause(self) -> None:
        """Do nothing: a thread is never lost."""

    def rest(self, calls: int, wants_input: bool, is_blocked: bool) -> float:
        """Get ready to sleep until there is news. Return for how many seconds at the most, 0: there is news already."""
        self._times.starved_since_s = None if calls else time.perf_counter()
        return 0.0 if self._found is not None else _LONG_S

    def wake(self, has_news: bool) -> None:
        """End the rest."""
        times = self._times
        if times.starved_since_s is not None:
            waited = time.perf_counter() - times.starved_since_s
            self.statistics.starved_s += waited
            times.mark_s += waited
            times.starved_since_s = None
