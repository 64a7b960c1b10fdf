"""A port counts on its way, and tells."""

import contextlib
import inspect
import socket
import threading

import pytest

from pardata.channel.channel import socket_pair
from pardata.codec.batch_codec import Batch
from pardata.errors import CapacityError
from pardata.runtime.events import Said, decode, send_event
from pardata.runtime.header import BLOCKED_NS, CURRENT_CALL, LEAVE, MEMORY, SENT_BYTES, WAITS_FOR
from pardata.runtime.worker.accounting import TimeAccount
from pardata.runtime.worker.disown import STEPS
from pardata.runtime.worker.port import WorkerPort
from pardata.runtime.worker.program import Cancelled
from tests.unit.runtime.chain import LARGE, Chain


def test_a_worker_that_is_to_leave_sends_nothing_more_also_if_it_does_not_look_at_its_sockets():
    with contextlib.closing(Chain()) as chain:
        port = chain._ports["source"]
        cell = port.token(0)
        port.words[LEAVE] = 1
        with pytest.raises(Cancelled):
            port.publish(Batch(0, 0, 1, cell, [1]))
        chain.step("middle")
        assert not port.words[SENT_BYTES] and not chain.slots_in_use


def test_where_nothing_is_recorded_no_code_of_the_recording_runs():
    with contextlib.closing(Chain()) as chain:
        assert {(type(port), type(port._account)) for port in chain._ports.values()} == {(WorkerPort, TimeAccount)}


def test_bytes_are_counted_before_the_message_is_there():
    counted = []
    with contextlib.closing(Chain()) as chain:
        port = chain._ports["source"]
        send = port.outbox.send

        def send_and_look(packets):
            counted.append(port.words[SENT_BYTES])
            send(packets)

        port.outbox.send = send_and_look
        chain.step("source")
        assert counted == [port.words[SENT_BYTES]]
        assert counted[0] >= 8 * LARGE


def test_after_a_wait_that_failed_the_item_is_at_work_again():
    with contextlib.closing(Chain()) as chain:
        port = chain._ports["middle"]
        port.attempt(0, 7)

        def fail():
            assert (port.words[CURRENT_CALL], port.words[WAITS_FOR]) == (0, MEMORY)
            raise CapacityError("never")

        blocked_ns = port.words[BLOCKED_NS]
        with pytest.raises(CapacityError):
            port._account.wait(MEMORY, fail)
        assert port.item_at_work == 7
        assert port.words[WAITS_FOR] != MEMORY
        assert port.words[BLOCKED_NS] > blocked_ns


class SharedSocket(socket.socket):
    """A socket of which a forked child has a copy: at each `send` the child says not to block."""

    def __init__(self, sock, tried):
        self._copy = sock.dup()
        super().__init__(fileno=sock.detach())
        self._tried = tried

    def send(self, data):
        self._copy.setblocking(False)
        try:
            return super().send(data)
        finally:
            self._tried.set()

    def close(self):
        self._copy.close()
        super().close()


def test_an_event_waits_for_room_whatever_a_forked_child_says_of_the_socket():
    near, far = socket_pair()
    with contextlib.suppress(BlockingIOError):
        while True:
            near.send(b"full")
    tried, heard = threading.Event(), []

    def hear():
        tried.wait()
        far.setblocking(True)
        while (data := far.recv(1 << 18)) == b"full":
            pass
        heard.append(data)

    listener = threading.Thread(target=hear)
    with far, contextlib.closing(SharedSocket(near, tried)) as sock:
        listener.start()
        try:
            send_event(sock, Said("f", "stdout", "1"))
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            listener.join()
    assert [decode(data) for data in heard] == [Said("f", "stdout", "1")]


def test_every_method_is_known_as_one_that_ends_a_forked_child_or_that_does_no_harm_in_it():
    harmless = {
        "claimed",
        "enter_thread",
        "heaviest_item_bytes",
        "expect_generator",
        "resume_point",
        "load_state",
        "keep_tokens",
        "failed_item",
    }
    told = {"report"}
    methods = {name for name, _ in inspect.getmembers(WorkerPort, inspect.isfunction) if not name.startswith("_")}
    assert methods == {*STEPS} | harmless | told
