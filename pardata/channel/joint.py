"""Messages on several channels that are published together: all of them, or none.

A stage with several readers, or several branches, hands a batch on by one message on each edge. Its function may make
something else of the batch when it is called again (a random key, an error that was of the moment), so a successor must
never complete what its predecessor had begun to hand over: readers would get parts of two results.

      prepare all        every message lies in its slot, without its stamp
      pledge the others  per channel but the first: "my message with this stamp goes with that one of the first"
      complete the first SYNC POINT: together. This one store publishes all of them
      complete the rest  each store is only what the pledge says already

A process that dies before the sync point has published nothing: its successor forgets the pledges, does the batch
again, and is free to choose anew. One that dies behind it has published everything: its successor writes the stamps
that are missing, before it looks at anything else. A pledge is valid by comparison alone (its stamp is above the
channel's last one, the leader's is not above that of the leader), so none has to be cleared after a batch.
"""

from __future__ import annotations

from pardata.channel.sender import Sender


def publish_together(senders: list[Sender]) -> None:
    """Publish what each of `senders` has prepared."""
    leader = senders[0]
    for sender in senders[1:]:
        sender.pledge(leader)
    leader.complete()  # SYNC POINT: together. A successor finds this stamp in `redeem_pledges`
    for sender in senders[1:]:
        sender.complete()


def redeem_pledges(senders: list[Sender]) -> None:
    """As a successor, first of all: bring what a predecessor was publishing to its end; `senders`: all, by index.

    SYNC POINT: together. What is pledged counts from the moment at which the leader's stamp was stored.
    """
    for sender in senders:
        sender.redeem(senders)
