"""How many items a message carries: one until something is known, then as many as a worker does in two milliseconds."""

from collections import deque

import pytest

from pardata.pipeline.programs.batch_size import BATCH_S, LARGEST_BATCH, BatchSize

HOP_S = 25e-6


def simulate(items, seconds_of, workers, source_s=1e-6):
    """A source, a farm that keeps the order, and a consumer; return (sizes of the messages, items per worker, time)."""
    window = 2 * (workers + 1) + 3
    pace = BatchSize(workers, 0.0)
    free_s, shares = [0.0] * workers, [0] * workers
    inflight, sizes = deque(), []
    now = last = 0.0
    sent = came_out = 0
    while sent < items:
        size = min(pace.items, items - sent)
        now += size * source_s + HOP_S
        while inflight and (len(inflight) >= window or inflight[0] <= now):
            now = max(now, inflight.popleft())
            came_out += 1
        pace.sent(size, now)
        worker = min(range(workers), key=free_s.__getitem__)
        free_s[worker] = max(now, free_s[worker]) + HOP_S + sum(map(seconds_of, range(sent, sent + size)))
        last = max(last + HOP_S, free_s[worker])
        inflight.append(last)
        shares[worker] += size
        sizes.append(size)
        sent += size
        pace.came_out(came_out, now)
    return sizes, shares, last


@pytest.mark.parametrize(("items", "seconds", "workers"), [(16, 1.0, 8), (24, 1.0, 8), (40, 0.2, 4), (20, 5.0, 16)])
def test_slow_items_go_one_by_one_so_each_worker_has_its_share(items, seconds, workers):
    sizes, shares, _ = simulate(items, lambda _: seconds, workers)
    assert set(sizes) == {1}
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("workers", [1, 4, 8])
def test_cheap_items_soon_fill_messages(workers):
    sizes, _, seconds = simulate(50_000, lambda _: 1e-6, workers)
    assert max(sizes) == LARGEST_BATCH
    assert seconds < 2 * 50_000 * (1e-6 + HOP_S / LARGEST_BATCH)


def test_a_message_is_worth_two_milliseconds_of_one_worker():
    sizes, shares, _ = simulate(4000, lambda _: 2e-4, 4)
    assert max(sizes) <= 1.5 * BATCH_S / 2e-4
    assert max(shares) - min(shares) <= 2 * max(sizes)


def test_no_message_is_more_than_twice_as_large_as_one_that_has_come_out():
    pace = BatchSize(1, 0.0)
    for number in range(20):
        pace.sent(1, 1e-6 * number)
    assert pace.items == 1  # nothing has come out, however fast the source is
    pace.came_out(1, 1e-4)
    assert pace.items == 2
    pace.came_out(20, 2e-4)
    assert pace.items == 2  # those were small


def test_items_that_become_slow_go_one_by_one_again():
    sizes, _, _ = simulate(3000, lambda number: 1e-6 if number < 2000 else 0.01, 2)
    assert max(sizes) == LARGEST_BATCH
    assert sizes[-1] == 1


def test_what_is_late_counts_before_it_comes_out():
    pace = BatchSize(1, 0.0)
    pace.sent(1, 1e-5)
    pace.came_out(1, 1e-4)
    assert pace.items == 2
    pace.sent(2, 2e-4)
    pace.came_out(1, 10.0)
    assert pace.items == 1


def test_a_source_that_is_slow_itself_does_not_collect():
    pace, now = BatchSize(1, 0.0), 0.0
    for number in range(50):
        now += 0.1
        pace.sent(1, now)
        pace.came_out(number + 1, now + 1e-4)  # at once
    assert pace.items == 1


def test_a_message_after_the_last_is_no_matter():
    pace = BatchSize(1, 0.0)
    pace.came_out(3, 1.0)  # of a predecessor
    assert pace.items == 1
