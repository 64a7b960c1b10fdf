"""The ends of a worker's channels and tokens, made from its spec and its sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from pardata.channel.collector import Collector
from pardata.channel.joint import redeem_pledges
from pardata.channel.leases import TABLE_BYTES, LeaseTable
from pardata.channel.order import Order
from pardata.channel.outbox import EdgeSenders
from pardata.channel.receiver import Claim, Receiver
from pardata.channel.sender import Sender
from pardata.channel.tokens import Retirer, Tokens
from pardata.memory.segment import Segment
from pardata.runtime.worker.spec import LEASES_AT, WorkerSpec


class Endpoints:
    """The receivers, senders and tokens of a worker.

    Parameters
    ----------
    socks : list of socket
        In this order: control, inputs, outputs, tokens, terminals.
    """

    def __init__(self, spec: WorkerSpec, segment: Segment, socks: list[socket.socket]) -> None:
        rest = iter(socks)
        self.control = next(rest)
        self.receivers = [
            Receiver(given.channel, next(rest), segment, index, given.edge, given.renamed)
            for index, given in enumerate(spec.inputs)
        ]
        header = spec.span.words(segment)
        self.leases = LeaseTable(spec.span.words(segment, LEASES_AT, TABLE_BYTES // 8), header)
        self.senders: list[Sender] = []
        self.edges: list[EdgeSenders] = []
        for output in spec.outputs:
            # A sender's index counts over all outputs: LEADER and the rows of the lease table name channels by it.
            first = len(self.senders)
            self.senders += [
                Sender(channel, next(rest), segment, self.leases, first + index, header)
                for index, channel in enumerate(output.channels)
            ]
            self.edges.append(EdgeSenders(self.senders[first:], output.branch))
        # Before anything else is decided: which leases count follows from the last stamps, to which this may add some.
        redeem_pledges(self.senders)
        self.tokens: Tokens | None = None
        if spec.tokens is not None:
            count = sum(map(len, spec.tokens.retired_at))
            self.tokens = Tokens(spec.tokens, segment, [next(rest) for _ in range(count)])
        self.retirers = {terminal.sequence: Retirer(terminal, segment, next(rest)) for terminal in spec.terminals}

    def collector(self, order: Order[Claim], on_control: Callable[[], None]) -> Collector:
        """Return the collector that waits for all of these."""
        collector = Collector(self.receivers, order, self.senders)
        collector.watch(self.control, on_control)
        for retirer in self.retirers.values():
            collector.owe(retirer)
        if self.tokens is not None:
            for sock in self.tokens.socks:
                collector.watch(sock, partial(self.tokens.receive, sock))
        return collector

    def announce(self) -> None:
        """As a successor, have both sides look again: doorbells may have died with the predecessor."""
        for sender in self.senders:
            sender.hello()
        for receiver in self.receivers:
            # What a predecessor had noted to give back, and not sent, is not in it: so it ends now.
            receiver.report_leases()
        for retirer in self.retirers.values():
            retirer.resume()
