"""Either process of a channel may die at any moment: its successor sees what is unfinished, and frees the rest."""

import pytest

from pardata.channel.leases import OWN, Lease
from pardata.channel.words import slot_at
from pardata.codec.batch_codec import Batch
from tests.unit.channel.rig import LARGE, DyingWords, Killed, numbers, values

# -- the receiver ------------------------------------------------------------------------------------------------------


def test_successor_of_a_receiver_that_had_received_nothing_gets_everything(rig):
    rig.send(0, 1)
    claims = rig.replace_receiver()
    assert numbers(claims) == [0, 1]
    assert values(rig.finish(claims)) == [0, 1]
    assert rig.receiver.receive() == []  # the doorbells that the dead one had not read


def test_successor_of_a_receiver_that_had_received_gets_the_message_again(rig):
    rig.send(0, 1)
    rig.receiver.receive()
    assert values(rig.finish(rig.replace_receiver())) == [0, 1]


def test_successor_of_a_receiver_that_had_read_gets_the_message_again(rig):
    rig.send(0, 1)
    for claim in rig.receiver.receive():
        rig.receiver.read(claim)
    claims = rig.replace_receiver()
    rig.sender.receive()
    assert rig.live_blocks == 2  # not freed under the successor
    assert values(rig.finish(claims)) == [0, 1]


def test_successor_of_a_receiver_that_had_committed_does_not_get_the_message_again(rig):
    rig.send(0, 1, 2)
    rig.finish(rig.receiver.receive()[:2])
    claims = rig.replace_receiver()
    assert numbers(claims) == [2]
    assert values(rig.finish(claims)) == [2]


def test_leases_and_slots_that_a_dead_receiver_had_not_given_back_are_free(rig):
    rig.send(0, 1, 2)
    held = rig.finish(rig.receiver.receive()[:2])  # committed; one view is kept, and nothing was told
    claims = rig.replace_receiver()
    rig.sender.receive()
    assert rig.free_slots == 3
    assert rig.live_blocks == 1
    del held
    assert values(rig.finish(claims)) == [2]
    rig.settle()
    assert (rig.free_slots, rig.live_blocks) == (4, 0)


def test_leases_that_a_dead_receiver_had_handed_on_stay(rig):
    rig.send(0, 1)
    claims = rig.receiver.receive()
    rig.finish(claims)
    lease = next(iter(rig.receiver.held.live))
    rig.replace_receiver(handed_on=[lease])
    rig.sender.receive()
    assert rig.live_blocks == 1
    assert rig.leases.on_channel(0)[0][:2] == lease[1:]


def test_what_is_published_after_the_death_comes_once(rig):
    rig.send(0)
    rig.finish(rig.receiver.receive())
    rig.send(1)
    claims = rig.replace_receiver()
    rig.send(2)
    claims += rig.receiver.receive()
    assert numbers(claims) == [1, 2]
    assert values(rig.finish(claims)) == [1, 2]


def test_what_is_published_before_the_hello_is_read_is_not_freed_by_it(rig):
    """The sender frees what the dead receiver had finished, and must not take the successor's work for that."""
    rig.send(0)
    (claim,) = rig.replace_receiver()
    held = rig.finish([claim])  # the successor is fast: it has committed before the sender reads its hello
    rig.send(1, 2)
    held += rig.finish(rig.receiver.receive())
    rig.sender.receive()
    assert rig.live_blocks == 3
    rig.send(3)
    assert values(held) == [0, 1, 2]


def test_receivers_may_die_in_a_row(rig):
    rig.send(0, 1, 2)
    rig.finish(rig.receiver.receive()[:1])
    for _ in range(3):
        claims = rig.replace_receiver()
    held = rig.finish(claims[:1])
    claims = rig.replace_receiver()
    rig.sender.receive()  # four hellos at once
    assert numbers(claims) == [2]
    assert rig.live_blocks == 1
    del held
    assert values(rig.finish(claims)) == [2]
    rig.settle()
    assert (rig.free_slots, rig.live_blocks) == (4, 0)


def test_successor_knows_the_end_of_the_stream(rig):
    rig.send(0, 1)
    rig.finish(rig.receiver.receive()[:1])
    rig.sender.close()
    rig.receiver.receive()  # the dead one takes the word with it
    claims = rig.replace_receiver()
    assert not rig.receiver.at_end
    rig.finish(claims)
    assert rig.receiver.at_end


def test_successor_of_a_receiver_that_had_finished_everything_is_at_the_end(rig):
    rig.send(0)
    rig.finish(rig.receiver.receive())
    rig.sender.close()
    assert rig.replace_receiver() == []
    assert rig.receiver.at_end


def hand_on(rig, many):
    """Have the receiver hand on the blocks of one message."""
    leases = [rig.leases.give(rig.arena.reserve(1), 0, 1, Lease(OWN, 0, 0)) for _ in range(many)]
    rig.outbox.publish(Batch(0, 0, 1, 0, []))
    rig.finish(rig.receiver.receive())
    return leases


def test_any_number_of_leases_that_were_handed_on_stays(rig):
    leases = hand_on(rig, 9000)
    rig.replace_receiver(leases[:8999])
    rig.sender.receive()
    assert len(rig.leases) == 8999


def test_report_that_died_half_way_frees_nothing_that_is_held(rig, monkeypatch):
    leases = hand_on(rig, 9000)
    sent = []

    def die_after_two(sock, data):
        if len(sent) == 2:
            raise Killed
        sent.append(sock.send(data))
        return True

    with monkeypatch.context() as patch:
        patch.setattr("pardata.channel.receiver.try_send", die_after_two)
        with pytest.raises(Killed):
            rig.replace_receiver(leases[:8999])
    rig.sender.receive()
    assert len(rig.leases) == 9000
    rig.replace_receiver(leases[:8999])
    rig.sender.receive()
    assert len(rig.leases) >= 8999
    rig.replace_receiver(leases[:8999])
    rig.sender.receive()
    assert len(rig.leases) == 8999  # the second report was not to be told from the first; the third is whole


# -- the sender --------------------------------------------------------------------------------------------------------


def test_what_a_dead_sender_had_published_is_received_once(rig):
    rig.send(0)
    rig.finish(rig.receiver.receive())
    rig.send(1, 2)
    rig.replace_sender()
    claims = rig.receiver.receive()
    assert values(rig.finish(claims)) == [1, 2]
    assert rig.receiver.receive() == []


def test_message_whose_doorbell_died_with_the_sender_is_received(rig, monkeypatch):
    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("pardata.channel.sender.try_send", die)
        with pytest.raises(Killed):
            rig.send(0)
    assert rig.receiver.receive() == []
    rig.replace_sender()
    assert rig.sender.slots.last() == (0, 0, 1, 0)
    assert values(rig.finish(rig.receiver.receive())) == [0]


def die_at_the_stamp(rig, number, after=False):
    """Have the sender killed at the store that publishes `number`, in the slot that it will use."""
    slot = rig.sender.slots.next()
    rig.sender._words = DyingWords(rig.sender._words, slot_at(slot), after)
    with pytest.raises(Killed):
        rig.send(number)


def test_message_that_was_not_published_does_not_exist(rig):
    rig.send(0)
    die_at_the_stamp(rig, 1)
    rig.replace_sender()
    assert rig.sender.slots.last() == (0, 0, 1, 0)
    assert not rig.outbox.has_published(0, 1)
    assert numbers(rig.receiver.receive()) == [0]
    assert rig.live_blocks == 1  # that of the unpublished one is free again


def test_message_that_was_published_exists(rig):
    rig.send(0)
    die_at_the_stamp(rig, 1, after=True)
    rig.replace_sender()
    assert rig.sender.slots.last() == (0, 1, 1, 0)
    assert rig.outbox.has_published(0, 1)
    assert values(rig.finish(rig.receiver.receive())) == [0, 1]


def test_last_message_is_known_also_when_its_slot_was_free_for_the_next(rig):
    rig.send(0)
    rig.finish(rig.receiver.receive())
    rig.settle()
    die_at_the_stamp(rig, 1)
    rig.replace_sender()
    assert not rig.outbox.has_published(0, 1)
    assert rig.sender.slots.last() == (0, 0, 1, 0)


def test_blocks_that_a_dead_sender_had_sent_stay_until_they_are_given_back(rig):
    rig.send(0, 1, 2)
    held = rig.finish(rig.receiver.receive()[:2])
    rig.replace_sender()
    assert rig.live_blocks == 3
    rig.send(3)
    assert values(held) == [0, 1]
    held += rig.finish(rig.receiver.receive())
    held.clear()
    rig.settle()
    assert rig.live_blocks == 1  # message 2 was claimed and is not finished


def test_blocks_that_a_dead_sender_had_and_not_sent_are_free(rig):
    rig.send(0)
    kept_by_user_code = [rig.arena.reserve(8 * LARGE) for _ in range(3)]
    assert rig.live_blocks == 4
    rig.replace_sender()
    assert rig.live_blocks == 1
    del kept_by_user_code
    assert rig.live_blocks == 1  # what the dead one would have freed is not freed twice


def test_slots_that_were_finished_while_no_sender_was_there_are_free(rig):
    rig.send(0, 1)
    claims = rig.receiver.receive()
    rig.finish(claims[:1])
    rig.receiver.flush()
    rig.replace_sender()
    assert rig.free_slots == 3
    rig.sender.receive()
    assert (rig.free_slots, rig.live_blocks) == (3, 1)
    rig.finish(claims[1:])
    rig.settle()
    assert (rig.free_slots, rig.live_blocks) == (4, 0)


def test_leases_that_were_told_to_a_sender_that_died_are_free(rig):
    rig.send(0)
    rig.finish(rig.receiver.receive())
    rig.receiver.flush()
    assert rig.socks[0].recv(1000)  # the sender has read it, and is killed
    rig.replace_sender()
    rig.receiver.receive()
    rig.settle()
    assert rig.live_blocks == 0


def test_leases_of_a_successor_are_not_taken_for_those_of_the_dead(rig):
    """Rows are used again, with new stamps: what comes late for an old lease does not end the new one."""
    rig.send(0)
    array = rig.finish(rig.receiver.receive())
    array.clear()
    rig.receiver.flush()
    late = rig.socks[0].recv(1000)
    rig.socks[1].send(late)
    rig.replace_sender()
    rig.sender.receive()
    rig.send(1)
    rig.socks[1].send(late)
    rig.sender.receive()
    assert rig.live_blocks == 1
    assert values(rig.finish(rig.receiver.receive())) == [1]


def test_senders_may_die_in_a_row(rig):
    got = []
    for number in range(12):
        rig.send(number)
        rig.replace_sender()
        rig.replace_sender()
        if number % 3:
            got += rig.finish(rig.receiver.receive())
            rig.settle()
    got += rig.finish(rig.receiver.receive())
    assert values(got) == list(range(12))
    got.clear()
    rig.settle()
    assert (rig.free_slots, rig.live_blocks) == (4, 0)


def test_both_may_die(rig):
    rig.send(0, 1)
    rig.finish(rig.receiver.receive()[:1])
    rig.replace_sender()
    claims = rig.replace_receiver()
    rig.replace_sender()
    rig.send(2)
    claims += rig.receiver.receive()
    assert values(rig.finish(claims)) == [1, 2]
    rig.settle()
    assert (rig.free_slots, rig.live_blocks) == (4, 0)
