"""Batches for training loops, by real workers: whole, equal whatever happens, and with nothing left."""

import importlib.util
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest

import pardata

LARGE = 3000  # numbers of 8 bytes: a batch of them is more than travels within a message


class Items:
    """A dataset of which each item has an array, a number, a text, and random numbers of all kinds."""

    def __init__(self, count=20):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, key):
        if not 0 <= key < self.count:
            raise IndexError(key)
        drawn = [pardata.worker().random.random(), np.random.rand(), random.random()]
        return {"large": np.full(LARGE, key), "key": key, "text": str(key), "drawn": np.array(drawn)}


class Stepwise:
    """A dataset that has only an `__iter__`, and fills one buffer again and again. It kills its process once."""

    def __init__(self, count=7, path=""):
        self.count = count
        self.path = path

    def __len__(self):
        return self.count

    def __iter__(self):
        buffer = np.zeros(LARGE)
        for number in range(self.count):
            buffer[:] = number + (np.random.rand() + pardata.worker().random.random()) / 4
            if number == 4 and self.path and not os.path.exists(self.path):
                open(self.path, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            yield buffer


def plain(batch):
    """A batch as something that can be compared."""
    return {name: field.tolist() if isinstance(field, np.ndarray) else field for name, field in batch.items()}


def epochs(feed, count=2):
    return [[plain(batch) for batch in feed] for _ in range(count)]


@pytest.fixture(scope="module")
def expected():
    return epochs(pardata.batches(Items(), 6, shuffle=True, seed=3, workers=0))


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_do_not_depend_on_the_workers(expected, workers):
    with pardata.batches(Items(), 6, shuffle=True, seed=3, workers=workers) as feed:
        assert epochs(feed) == expected
        assert len(feed) == 4 and feed.epoch == 2
    keys = [[key for batch in epoch for key in batch["key"]] for epoch in expected]
    assert keys[0] != keys[1] and sorted(keys[0]) == sorted(keys[1]) == list(range(20))
    drawn = [tuple(row) for epoch in expected for batch in epoch for row in batch["drawn"]]
    assert len(set(itertools.chain(*drawn))) == 3 * 40  # no number comes twice


def test_arrays_are_the_loops_own_and_lie_where_a_worker_has_written_them():
    kept = []
    with pardata.batches(Items(), 5, workers=2) as feed:
        for batch in feed:
            assert batch["large"].flags.writeable and batch["key"].flags.writeable
            assert batch["large"].ctypes.data % 64 == 0
            batch["large"] += 1
            kept.append(batch["large"])
        sent = feed._route._pool.statistics()["received_bytes"]
    assert [rows[:, 0].tolist() for rows in kept] == [list(range(i + 1, i + 6)) for i in range(0, 20, 5)]
    assert sent >= 20 * LARGE * 8


class Fatal(Items):
    """Each of some items kills its process once."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __getitem__(self, key):
        path = f"{self.folder}/{key}"
        if key in (3, 4, 9, 17) and not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(key)


def test_killed_workers_are_replaced_and_the_epoch_is_equal(expected, tmp_path):
    with pardata.batches(Fatal(str(tmp_path)), 6, shuffle=True, seed=3, workers=2) as feed:
        assert epochs(feed, 1) == expected[:1]
    assert sorted(os.listdir(tmp_path)) == ["17", "3", "4", "9"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loop_goes_on_where_its_state_was_taken(expected, workers):
    with pardata.batches(Items(), 6, shuffle=True, seed=3, workers=workers) as feed:
        states = [feed.state_dict()] + [feed.state_dict() for epoch in range(2) for _ in feed]
    for at, state in enumerate(states):
        with pardata.batches(Items(), 6, shuffle=True, workers=0) as other:
            other.load_state_dict(state)
            rest = [plain(batch) for batch in other]
            assert rest == expected[(at - 1) // 4 if at else 0][at - 4 * ((at - 1) // 4 if at else 0) :]
            if at < 5:
                assert [plain(batch) for batch in other] == expected[1]


def test_a_state_of_another_loop_is_refused():
    state = pardata.batches(Items(), 6, workers=0).state_dict()
    with pytest.raises(pardata.ConfigError, match="the state is that of a loop with batch_size=6"):
        pardata.batches(Items(), 5, workers=0).load_state_dict(state)
    for wrong in ({}, None, {"seed": 1, "epoch": 0}):
        with pytest.raises(pardata.ConfigError, match="this is no state of a loop"):
            pardata.batches(Items(), 6, workers=0).load_state_dict(wrong)


def test_an_epoch_that_is_left_early_is_followed_by_the_next_one(expected):
    with pardata.batches(Items(), 6, shuffle=True, seed=3, workers=2) as feed:
        assert plain(next(iter(feed))) == expected[0][0]
        assert epochs(feed, 1) == expected[1:]
        one, other = iter(feed), iter(feed)  # two at a time are two epochs
        keys = [(a["key"].tolist(), b["key"].tolist()) for a, b in zip(one, other, strict=True)]
        assert all(a != b for a, b in keys) and feed.epoch == 4


class Broken(Items):
    def __getitem__(self, key):
        if key == 13:
            raise self.error
        return super().__getitem__(key)


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_name_the_item_and_the_loader_goes_on(workers):
    dataset = Broken()
    dataset.error = ValueError("no such picture")
    with pardata.batches(dataset, 6, workers=workers) as feed:
        with pytest.raises(ValueError, match="no such picture") as caught:
            list(feed)
        assert "item 13 of the dataset, for batch 2 of epoch 0" in caught.value.__notes__
        dataset.error = StopIteration()  # the change reaches the workers, and does not end the loop in silence
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            list(feed)
        dataset.error = None
        with pytest.raises(TypeError) as caught:
            list(feed)
        assert "item 13 of the dataset, for batch 2 of epoch 2" in caught.value.__notes__


def test_items_that_do_not_fit_are_named():
    with pardata.batches([np.zeros(2), np.zeros(2), np.zeros(3)], 3, workers=1) as feed:
        with pytest.raises(ValueError, match=r"shape \(3,\)") as caught:
            list(feed)
        assert "item 2 of the dataset, for batch 0 of epoch 0" in caught.value.__notes__


class Unsendable(Items):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def test_messages_name_the_batch_and_the_dataset():
    dataset = Broken(2000)
    dataset.error = ValueError()
    with pardata.batches(dataset, 1024, workers=1) as feed:
        with pytest.raises(ValueError) as caught:
            list(feed)
        notes = caught.value.__notes__
        assert "in the call of 'loader', item 0: batch 0 of epoch 0, of the keys [0, 1, 2, 3, 4, 5, ...]" in notes
    told = "'loader' cannot be sent .* the attribute 'dataset' -> "
    with pardata.batches(Unsendable(), workers=1) as feed, pytest.raises(pardata.ConfigError, match=told):
        list(feed)


class Shaped:
    """As an array in a file: it has no length."""

    shape = (3, 1)

    def __getitem__(self, key):
        return key


class Many(Items):
    def __getitems__(self, keys):
        return [(key, len(keys)) for key in keys]


def test_integers_of_numpy_are_arguments():
    feed = pardata.batches(range(3), np.int64(2), workers=np.int64(0), seed=np.uint8(7))
    assert [batch.tolist() for batch in feed] == [[0, 1], [2]]
    assert {type(value) for value in feed.state_dict().values()} == {int, bool}


@pytest.mark.parametrize("workers", [0, 1])
def test_the_kinds_of_batches(workers):
    with pardata.batches(Many(), 15, workers=workers) as feed:
        assert [[field.tolist() for field in batch] for batch in feed] == [
            [list(range(15)), [15] * 15],
            [[15, 16, 17, 18, 19], [5] * 5],
        ]
    with pardata.batches(list("abc"), None, workers=workers) as feed:
        assert list(feed) == ["a", "b", "c"]
    with pardata.batches(range(5), 2, collate=sum, workers=workers) as feed:
        assert list(feed) == [1, 5, 4]
    with pardata.batches({"a": 1, "b": 2}, 2, sampler=["b", "a", "b"], workers=workers) as feed:
        assert [batch.tolist() for batch in feed] == [[2, 1], [2]]
    with pardata.batches(range(5), batch_sampler=[[4], [1, 2]], workers=workers) as feed:
        assert [batch.tolist() for batch in feed] == [[4], [1, 2]]
    with pardata.batches(Shaped(), 2, workers=workers) as feed:
        assert [batch.tolist() for batch in feed] == [[0, 1], [2]] and len(feed) == 2
    with pardata.batches([], 2, workers=workers) as feed:
        assert list(feed) == [] and len(feed) == 0


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_dataset_that_only_iterates(drop_last, tmp_path):
    make = partial(pardata.batches, batch_size=3, drop_last=drop_last, seed=5)
    killed = Stepwise(path=str(tmp_path / "killed"))
    with make(Stepwise(), workers=0) as feed, make(killed, workers=2) as other:
        found = [[batch.tolist() for batch in feed] for _ in range(2)]
        assert found == [[batch.tolist() for batch in other] for _ in range(2)]
        assert [[int(row[0]) for batch in epoch for row in batch] for epoch in found] == [
            list(range(6 if drop_last else 7))
        ] * 2
        assert found[0] != found[1] and len(feed) == len(found[0])
        state = {**feed.state_dict(), "epoch": 1, "batches": 1}
        other.load_state_dict(state)
        assert [batch.tolist() for batch in other] == found[1][1:]


class Counting:
    """A dataset that is its own iterator, and begins anew for each epoch."""

    def __iter__(self):
        self.number = 0
        return self

    def __next__(self):
        self.number += 1
        if self.number > 5:
            raise StopIteration
        return self.number


@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataset_that_is_its_own_iterator(workers):
    with pardata.batches(Counting(), 2, workers=workers) as feed:
        for _ in range(2):
            assert [batch.tolist() for batch in itertools.islice(feed, 9)] == [[1, 2], [3, 4], [5]]


def test_an_iterator_that_was_read_is_not_an_empty_epoch():
    feed = pardata.batches((number for number in range(3)), 2, workers=0)
    assert len(list(feed)) == 2
    with pytest.raises(pardata.ConfigError, match="the dataset is a generator, which can be read only once"):
        list(feed)


class Shuffling:
    """A sampler that draws from NumPy's global generator."""

    def __iter__(self):
        yield from np.random.permutation(20).tolist()


def test_a_sampler_draws_from_the_generator_of_the_calling_process_whatever_the_workers():
    orders = []
    for workers in (0, 1):
        np.random.seed(0)
        with pardata.batches(range(20), 20, sampler=Shuffling(), workers=workers) as feed:
            orders.append([batch.tolist() for _ in range(2) for batch in feed])
    assert orders[0] == orders[1] and orders[0][0] != orders[0][1]


def numbers():
    for number in range(7):
        yield np.full(LARGE, number), number


@pytest.mark.parametrize("workers", [0, None, 2])
def test_a_stream(workers):
    stream = pardata.source(numbers).map(lambda item: (item[0] + 1, item[1]))
    with pardata.batches(stream, 3, workers=workers) as feed:
        first, again = [[(rows[:, 0].tolist(), some.tolist()) for rows, some in feed] for _ in range(2)]
        assert first == again == [([1, 2, 3], [0, 1, 2]), ([4, 5, 6], [3, 4, 5]), ([7], [6])]
        feed.load_state_dict({**feed.state_dict(), "batches": 2})
        [(rows, _)] = feed
        assert rows.tolist() == [[7] * LARGE] and rows.flags.writeable
        with pytest.raises(TypeError, match="a stream does not know"):
            len(feed)


def test_global_generators_of_the_calling_process_go_on_as_if_nothing_was_read():
    np.random.seed(0)
    random.seed(0)
    wanted = np.random.rand(), random.random()
    np.random.seed(0)
    random.seed(0)
    for dataset in (Items(), Stepwise()):
        list(pardata.batches(dataset, 6, workers=0))
    assert (np.random.rand(), random.random()) == wanted


class Changing:
    offset = 0

    def __len__(self):
        return 4

    def __getitem__(self, key):
        return key + self.offset


def test_changes_of_the_dataset_reach_the_workers_in_the_next_epoch():
    dataset = Changing()
    with pardata.batches(dataset, 4, workers=1) as feed:
        assert [batch.tolist() for batch in feed] == [[0, 1, 2, 3]]
        dataset.offset = 10
        assert [batch.tolist() for batch in feed] == [[10, 11, 12, 13]]


def endless():
    """Give one item, and no other one."""
    yield np.zeros(3)
    while True:
        signal.pause()


class IterOnly:
    def __iter__(self):
        return iter(range(9))


class Endless:
    def __iter__(self):
        return endless()


@pytest.mark.parametrize("make", [lambda: pardata.source(endless), Endless])
def test_close_ends_a_loop_that_waits_in_another_thread(make):
    feed = pardata.batches(make(), workers=1)
    has_begun, seen = threading.Event(), []

    def close():
        has_begun.wait()
        feed.close()

    closer = threading.Thread(target=close)
    closer.start()
    for batch in feed:
        seen.append(batch)
        has_begun.set()
    closer.join()
    assert len(seen) == 1 and feed.state_dict()["batches"] == 1 and feed.epoch == 0


@pytest.mark.parametrize("make", [lambda: pardata.source(range(9)), IterOnly, lambda: range(9)])
def test_a_loop_that_closes_its_feed_was_left_early(make):
    feed = pardata.batches(make(), batch_size=2, workers=0)
    before = iter(feed)
    feed.close()
    assert list(before) == []
    for _ in feed:
        feed.close()
    assert (feed.epoch, feed.state_dict()["batches"]) == (1, 1)
    assert len(list(feed)) == 5 and feed.epoch == 3


def test_too_little_memory_is_told_with_the_options_of_a_feed():
    class Large:
        def __len__(self):
            return 1

        def __getitem__(self, number):
            raise pardata.CapacityError("raise memory_limit=")

    with pytest.raises(pardata.CapacityError) as caught:
        list(pardata.batches(Large(), workers=0))
    assert "a smaller batch_size=" in caught.value.__notes__[-1]


def test_workers_stay_for_the_next_epoch_and_go_with_the_feed():
    with pardata.batches([0, 1], 1, collate=lambda items: os.getpid(), workers=1) as feed:
        assert len({*feed, *feed}) == 1
        feed.close()
        assert len(set(feed)) == 1  # others, made for the next loop


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: pardata.batches(5), "batches are made of a stream, of a dataset with __getitem__"),
        (lambda: pardata.batches(numbers), "of a generator function pardata.source makes a stream"),
        (lambda: pardata.batches([1], sampler=5), "sampler must be an iterable, read anew for each epoch, not int"),
        (lambda: list(pardata.batches([1], batch_sampler=[[0], []], workers=0)), "a batch without keys"),
        (lambda: pardata.batches(pardata.source([1]), shuffle=True), "come in its own order"),
        (lambda: pardata.batches(Stepwise(), sampler=[1]), "come in its own order"),
        (lambda: pardata.batches(iter([1])), "a list_iterator can be read only once"),
        (lambda: pardata.batches([1], workers=-1), "workers must be an int of at least 0"),
        (lambda: pardata.batches([1], seed=-1), "seed must be an int of at least 0"),
        (lambda: pardata.batches([1], collate=3), "collate must be a function"),
        (lambda: pardata.batches(type("Endless", (), {"__getitem__": None})()), "without a length needs a sampler"),
    ],
)
def test_wrong_arguments(make, match):
    with pytest.raises(pardata.ConfigError, match=match):
        make()


TRAIN = """
import jax
import numpy as np
import pardata

X = np.random.default_rng(0).standard_normal((1000, 784), np.float32)
y = X @ np.linspace(-1, 1, 784, dtype=np.float32)


@jax.jit
def step(weights, x, y):
    value, slope = jax.value_and_grad(lambda weights: ((x @ weights - y) ** 2).mean())(weights)
    return weights - 0.03 * slope, value


weights, losses, kept = np.zeros(784, np.float32), [], []
with pardata.batches(list(zip(X, y)), batch_size=100, shuffle=True, workers=2, seed=1) as batches:
    for epoch in range(3):
        for x, target in batches:
            shared = jax.dlpack.from_dlpack(x)
            assert shared.unsafe_buffer_pointer() == x.ctypes.data
            weights, loss = step(weights, shared, target)
            losses.append(float(loss))
            kept.append((shared, np.array(x)))
            del x, target
assert losses[-1] < losses[0] / 3, losses
assert len(kept) == 30 and all(np.array_equal(shared, copy) for shared, copy in kept)  # no memory was used again
"""


def test_jax_trains_on_the_memory_of_the_batches():
    """In a program of its own: JAX has threads, and warns of each fork behind its import."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("not installed")
    subprocess.run([sys.executable, "-W", "error", "-c", TRAIN], check=True, timeout=120)
