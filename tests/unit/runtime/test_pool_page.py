"""The figures of a pool's page: idle tails, and the sentence of advice."""

from pardata.runtime.recording.pool_page import Tail, idle_tail, pool_advice
from pardata.runtime.recording.record import Chunk


def chunk(worker, begin_s, end_s):
    return Chunk(0, 0, worker, 0, "map", 0, 1, int(begin_s * 1e9), int(end_s * 1e9), False)


def test_the_idle_tail_is_what_is_left_when_the_last_chunk_of_a_worker_is_done():
    assert idle_tail([chunk(0, 0, 4), chunk(1, 0, 5), chunk(0, 4, 10)], 2) == Tail(5.0, 0.25)
    assert idle_tail([chunk(0, 1, 2)], 2) == Tail(0.0, 0.0)
    assert idle_tail([chunk(0, 0, 1), chunk(0, 1, 2)], 2) == Tail(2.0, 0.5)  # the other one got nothing at all


def workers(work_s, wait_s):
    return {"workers": [{"work_s": work_s, "wait_s": wait_s}] * 2}


def test_advice():
    assert pool_advice(workers(0.0, 1.0), {}).startswith("Nothing was worked on")
    told = pool_advice(workers(9.0, 1.0), {"map 1": Tail(3.0, 0.25), "map 2": Tail(0.1, 0.01)})
    assert told == (
        "The workers worked 90% of the time since they had started, 18.0 s together. At the end of map 1 a worker had "
        "nothing to do for 3.00 s, 25% of the time of all: smaller chunks at the end, as with "
        'chunksize="guided", use it.'
    )
    assert "there were no tasks for them" in pool_advice(workers(1.0, 9.0), {})
