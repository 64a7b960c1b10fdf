"""Memory of this process whose addresses a queue has sent: it must stay until the addresses have been received."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from queue import Full
from typing import Final

from pardata.memory.exchange.addresses import is_awaited, open_address, write_off
from pardata.memory.exchange.exports import BlockAddress
from pardata.queue.packet_pipe import PacketPipe, wait_for

_FIRST_PAUSE: Final = 0.001  # s; between looks at the end of a process whose arrays have not been received
_LONGEST_PAUSE: Final = 0.05  # s; each pause is twice the one before


class Sent:
    """The addresses of this process that one queue has sent, as long as nobody has received them."""

    def __init__(self) -> None:
        self._addresses: list[BlockAddress] = []
        self._most = 64

    def add(self, addresses: list[BlockAddress]) -> None:
        """Note addresses that are on their way now."""
        self._addresses += addresses
        if len(self._addresses) > self._most:
            self._addresses = list(filter(is_awaited, self._addresses))
            self._most = max(64, 2 * len(self._addresses))  # so an address is looked at a few times at the most

    @property
    def are_awaited(self) -> bool:
        """Return whether one is still on its way."""
        return any(map(is_awaited, self._addresses))

    def write_off(self) -> None:
        """Say that nobody can receive the rest."""
        for address in filter(is_awaited, self._addresses):
            write_off(address)


@contextlib.contextmanager
def taken_back_if_full(addresses: list[BlockAddress]) -> Iterator[None]:
    """Receive the addresses here if the queue stays full."""
    try:
        yield
    except Full:
        for address in addresses:
            open_address(address)
        raise


def wait_until_received(pipe: PacketPipe, is_awaited: Callable[[], bool]) -> None:
    """Return when nothing is awaited any more, or nobody can receive it."""
    pause = _FIRST_PAUSE
    while is_awaited() and not _is_given_up(pipe):
        # A receiver tells the block, not this process, and no event says that it was killed before that. A poll for no
        # event ends when the last reader is gone.
        wait_for(pipe.writer, 0, pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _is_given_up(pipe: PacketPipe) -> bool:
    """Return whether nobody can receive the addresses: no reader is left, or one was killed with a packet in its hands.

    SYNC POINT: between. A reader holds its lock from before the read until the arrays are open.
    """
    if wait_for(pipe.writer, 0, 0):
        return True
    # A packet that is in the pipe may still be read, as there is a reader. One that has left it is in somebody's hands.
    alone = pipe.try_alone() if not pipe.packets else -1
    if alone >= 0:
        os.close(alone)
    return alone >= 0
