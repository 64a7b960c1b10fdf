"""Messages on several channels that are published together: all of them, or none.

A stage with several readers, or several branches, hands a batch on by one message on each edge. Its function may have
another result when it is called again with the same batch (a random key, a passing error). So a successor must not add
messages of a second call to those of the first: the readers would get parts of two results.

      prepare all        every message lies in its slot, without its stamp
      pledge the others  per channel but the first: "my message with this stamp goes with that one of the first"
      complete the first SYNC POINT: together. This one store publishes all of them
      complete the rest  these stores only repeat what the pledges say

A process that dies before the sync point has published nothing: its successor forgets the pledges and processes the
batch again. One that dies behind it has published everything: its successor writes the missing stamps before it does
anything else. A pledge is valid by comparison alone (its stamp is above the channel's last one, the leader's stamp that
it names is not), so no pledge has to be cleared after a batch.
"""

from __future__ import annotations

from pardata.channel.sender import Sender


def publish_together(senders: list[Sender]) -> None:
    """Publish the prepared messages of all `senders`."""
    leader = senders[0]
    for sender in senders[1:]:
        sender.pledge(leader)
    leader.complete()  # SYNC POINT: together. A successor finds this stamp in `redeem_pledges`
    for sender in senders[1:]:
        sender.complete()


def redeem_pledges(senders: list[Sender]) -> None:
    """As a successor, first of all: complete the publication that a predecessor had begun.

    SYNC POINT: together. Pledges count from the moment at which the leader's stamp was stored.

    Parameters
    ----------
    senders : list of Sender
        All of this process, by index.
    """
    for sender in senders:
        sender.redeem(senders)
