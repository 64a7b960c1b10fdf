"""What a port counts on its way."""

import contextlib

from pardata.runtime.words import SENT_BYTES
from tests.unit.runtime.chain import LARGE, Chain


def test_who_has_got_a_message_finds_its_bytes_counted():
    counted = []
    with contextlib.closing(Chain()) as chain:
        port = chain._ports["source"]
        send = port.outbox.send

        def send_and_look(parcels, skip):
            counted.append(port.words[SENT_BYTES])
            send(parcels, skip)

        port.outbox.send = send_and_look
        chain.step("source")
        assert counted == [port.words[SENT_BYTES]]
        assert counted[0] >= 8 * LARGE
