"""A Dask cluster of two nodes on this machine: two workers with nannies, under addresses that count as two hosts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import distributed

NODES = 2


@contextmanager
def two_nodes() -> Iterator[distributed.Client]:
    """A client of the cluster; it is the current one."""
    workers = {
        index: {"cls": distributed.Nanny, "options": {"host": f"127.0.0.{index + 2}", "nthreads": 1}}
        for index in range(NODES)
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": ":0"}}
    with (
        distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(NODES)
        yield client
