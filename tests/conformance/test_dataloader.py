"""`pardata.torch.Loader` beside torch's DataLoader: the same batches. Runs where torch is installed."""

import os
import signal
import threading
import warnings
from collections import namedtuple

import numpy as np
import pytest

import pardata
import pardata.torch
from pardata.codec.object_codec import pickled
from pardata.codec.picklers import StatePickler

torch = pytest.importorskip("torch")

Pair = namedtuple("Pair", "left right")
DataLoader = torch.utils.data.DataLoader


class Everything(torch.utils.data.Dataset):
    """Items with a field of each kind."""

    def __init__(self, count=20):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, key):
        return {
            "tensor": torch.full((50, 60), float(key)),
            "array": np.full((3,), key, np.int16),
            "integer": key,
            "real": key * 0.5,
            "truth": bool(key % 2),
            "text": str(key),
            "pair": (key, [np.float32(key), b"x"]),
            "named": Pair(key, torch.tensor(key)),
            "half": torch.full((3,), key, dtype=torch.bfloat16),
            "empty": torch.zeros(0, 3),
            "unsigned": np.uint16(key),
            "view": torch.arange(12).reshape(3, 4).T,
            "complex": torch.full((2,), key + 1j).conj(),
            "nothing": [],
        }


class Steps(torch.utils.data.IterableDataset):
    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        yield -1 if info is None else 100 * info.id + info.num_workers
        yield from range(7)


def told(tree):
    """A batch as something that can be compared."""
    if isinstance(tree, torch.Tensor):
        return str(tree.dtype), tuple(tree.shape), tree.tolist()
    if isinstance(tree, dict):
        return {name: told(part) for name, part in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree).__name__, [told(part) for part in tree]
    return tree


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("options", [{"batch_size": 6}, {"batch_size": 6, "drop_last": True}, {"batch_size": None}])
def test_the_same_batches(options, workers):
    with warnings.catch_warnings(), pardata.torch.Loader(Everything(), **options, workers=workers) as loader:
        warnings.simplefilter("error")
        found, wanted = list(loader), list(DataLoader(Everything(), **options))
        assert len(loader) == len(wanted)
    assert [told(batch) for batch in found] == [told(batch) for batch in wanted]


def test_shuffled_batches_have_the_same_items_in_another_order_each_time():
    with pardata.torch.Loader(Everything(), 6, shuffle=True, workers=2) as loader:
        epochs = [[key for batch in loader for key in batch["integer"].tolist()] for _ in range(2)]
    assert epochs[0] != epochs[1] and sorted(epochs[0]) == sorted(epochs[1]) == list(range(20))


def test_the_seed_of_torch_decides_on_the_order():
    orders = []
    for _ in range(2):
        torch.manual_seed(1)
        loader = pardata.torch.Loader(range(50), 50, shuffle=True, workers=0)
        orders += [batch.tolist() for batch in loader]
    assert orders[0] == orders[1]


def test_tensors_share_the_memory_of_the_workers_and_are_writable():
    kept = []
    with pardata.torch.Loader(Everything(), 5, workers=2) as loader:
        for batch in loader:
            batch["tensor"] += 1
            batch["half"] += 1
            kept.append(batch["tensor"])
    assert [tensor[:, 0, 0].tolist() for tensor in kept] == [list(range(i + 1, i + 6)) for i in range(0, 20, 5)]


def test_tensors_of_a_dataset_lie_in_one_memory_for_all_workers():
    numbers = torch.arange(30_000.0)
    dataset = torch.utils.data.TensorDataset(numbers.reshape(-1, 3), torch.ones(10_000, dtype=torch.bfloat16))
    with pardata.torch.Loader(dataset, 5_000, workers=1) as loader:
        assert torch.equal(torch.cat([rows for rows, _ in loader]), dataset.tensors[0])
        numbers += 1  # the change reaches the workers
        for rows, ones in loader:
            assert rows[0, 0] in (1, 15_001) and ones.dtype is torch.bfloat16 and ones.sum(dtype=float) == 5_000
    stream, pickler = pickled(StatePickler, dataset, False)
    assert len(stream) < 1000 and [array.nbytes for array in pickler.arrays] == [120_000, 20_000]


def put_together(items):
    info = torch.utils.data.get_worker_info()
    where = None if info is None else (info.num_workers, len(info.dataset))
    tensors = torch.stack([item["tensor"] for item in items])
    return Pair({"tensors": tensors, "array": np.zeros(3), "where": where}, items[0]["text"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_users_function_puts_batches_together_and_finds_torchs_worker_info(workers):
    with pardata.torch.Loader(Everything(), 6, collate=put_together, workers=workers) as loader:
        found = list(loader)
    wanted = list(DataLoader(Everything(), 6, collate_fn=put_together, num_workers=workers))
    assert torch.utils.data.get_worker_info() is None
    for (ours, text), (theirs, other) in zip(found, wanted, strict=True):
        assert torch.equal(ours["tensors"], theirs["tensors"]) and text == other
        assert type(ours["array"]) is np.ndarray and ours["where"] == theirs["where"]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iterable_dataset_is_read_once_whatever_the_workers(workers):
    with pardata.torch.Loader(Steps(), 3, workers=workers) as loader:
        found = [batch.tolist() for batch in loader]
    assert found == [[-1 if workers == 0 else 1, 0, 1], [2, 3, 4], [5, 6]]


def test_samplers_of_torch():
    data = torch.utils.data
    dataset = range(11)
    for rank in range(2):
        ours, theirs = (data.DistributedSampler(dataset, 2, rank, seed=3) for _ in range(2))
        with pardata.torch.Loader(dataset, 3, sampler=ours, workers=1) as loader:
            for epoch in range(2):
                ours.set_epoch(epoch)
                theirs.set_epoch(epoch)
                wanted = [batch.tolist() for batch in DataLoader(dataset, 3, sampler=theirs)]
                assert [batch.tolist() for batch in loader] == wanted and len(loader) == len(wanted)
    batches = data.BatchSampler(data.SequentialSampler(dataset), 4, False)
    weighted = data.WeightedRandomSampler([1.0] * 11, 30, generator=torch.Generator().manual_seed(1))
    with pardata.torch.Loader(dataset, batch_sampler=batches, workers=0) as loader:
        assert [batch.tolist() for batch in loader] == [batch.tolist() for batch in DataLoader(dataset, 4)]
    with pardata.torch.Loader(dataset, 10, sampler=weighted, workers=0) as loader:
        assert [len(batch) for batch in loader] == [10, 10, 10]


class Drawing(torch.utils.data.Dataset):
    """Items are random numbers of torch's global generator; one of them kills its process once."""

    def __init__(self, path=""):
        self.path = path

    def __len__(self):
        return 12

    def __getitem__(self, key):
        if key == 5 and self.path and not os.path.exists(self.path):
            open(self.path, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.rand(3000)


def test_random_numbers_of_torch_depend_on_seed_and_epoch_alone(tmp_path):
    found = []
    for path, workers in (("", 0), ("", 1), (str(tmp_path / "killed"), 3)):
        with pardata.torch.Loader(Drawing(path), 4, workers=workers, seed=1) as loader:
            found.append([torch.cat(list(loader)) for _ in range(2)])
    assert all(torch.equal(a, b) for epochs in found[1:] for a, b in zip(found[0], epochs, strict=True))
    assert len(torch.unique(torch.cat(found[0])[:, 0])) == 24


@pytest.mark.filterwarnings("ignore")  # torchdata looks at all of torch's old names
def test_a_stateful_loader_of_torchdata_goes_on_at_the_same_place():
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    wanted, found = [], []
    for make, results in (
        (lambda: stateful.StatefulDataLoader(range(20), 3), wanted),
        (lambda: pardata.torch.Loader(range(20), 3, workers=0), found),
    ):
        loader = make()
        for number, _ in enumerate(loader):
            if number == 2:
                break
        other = make()
        other.load_state_dict(loader.state_dict())
        results += [[batch.tolist() for batch in each] for each in (other, other, loader)]
    assert found == wanted


@pytest.fixture
def accelerator(monkeypatch):
    """An accelerator: what is pinned, and by which threads, is noted."""
    pinned = []

    def pin(tensor):
        pinned.append(threading.current_thread().name)
        return tensor.clone()

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    return pinned


def test_memory_is_pinned_one_batch_ahead(accelerator):
    with pardata.torch.Loader([(i, str(i)) for i in range(6)], 2, pin_memory=True, workers=0) as loader:
        batches = iter(loader)
        assert told(next(batches)) == told([torch.tensor([0, 1]), ("0", "1")])
        assert [told(batch[0])[2] for batch in batches] == [[2, 3], [4, 5]]
    assert len(accelerator) == 3 and accelerator[0].startswith("pardata-pin")
    assert loader.epoch == 1


def test_the_batches_before_an_error_arrive_also_when_they_are_pinned(accelerator):
    found = []
    loader = pardata.torch.Loader(["1", "2", "x"], 1, collate=lambda items: int(items[0]), pin_memory=True, workers=0)
    with pytest.raises(ValueError, match="invalid literal"):
        for batch in loader:
            found.append(batch)
    assert found == [1, 2] and loader.state_dict()["batches"] == 2


@pytest.mark.parametrize("is_named", [True, False])
def test_without_an_accelerator_nothing_is_pinned(is_named, monkeypatch):
    if not is_named:
        monkeypatch.delattr(torch, "accelerator", raising=False)  # as in torch 2.5
    with pytest.warns(UserWarning, match="torch finds no accelerator"):
        loader = pardata.torch.Loader(range(4), 2, pin_memory=True, workers=0)
    assert [batch.is_pinned() for batch in loader] == [False, False]


@pytest.mark.parametrize("workers", [0, 1])
def test_single_arrays_are_tensors_of_their_own_whatever_their_memory(workers):
    rows = np.arange(40_000.0).reshape(2, -1)
    rows.setflags(write=False)
    items = [rows, np.broadcast_to(np.ones(3), (2, 3)), np.arange(9)[::-1], np.arange(3, dtype=">i4"), np.float32(1)]
    with warnings.catch_warnings(), pardata.torch.Loader(items, None, workers=workers) as loader:
        warnings.simplefilter("error")
        for item, tensor in zip(items, loader, strict=True):
            assert tensor.tolist() == item.tolist()
            tensor += 1
    assert rows[0, 0] == 0


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("dtype", ["M8[D]", "longdouble", [("x", int)]], ids=str)
def test_dtypes_that_torch_has_not_are_refused_where_the_item_is_known(dtype, size):
    with pytest.raises(TypeError, match=r"an array of .*, which torch has not: convert it"):
        list(pardata.torch.Loader([np.zeros(2, dtype)], size, workers=0))
    with pytest.raises(TypeError, match="an item is Tensor of torch.sparse_coo"):
        list(pardata.torch.Loader([torch.eye(2).to_sparse()], 1, workers=0))


@pytest.mark.parametrize("items", [[0, np.int64(1), torch.tensor(2)], [np.int64(0), 1]], ids=str)
def test_numbers_of_python_numpy_and_torch_go_together(items):
    [found], [wanted] = pardata.torch.Loader(items, 3, workers=0), DataLoader(items, 3)
    assert told(found) == told(wanted)


def test_numbers_that_numpy_has_not_are_refused_for_arrays():
    with pytest.raises(TypeError, match="torch.bfloat16, which NumPy has not"):
        list(pardata.batches([torch.zeros(2, dtype=torch.bfloat16)], workers=0))
    [batch] = pardata.batches([torch.ones(2)] * 3, 3, workers=0)
    assert type(batch) is np.ndarray and batch.tolist() == [[1, 1]] * 3
    with pytest.raises(TypeError, match=r"torch.float32|float32 in one item and of bfloat16"):
        list(pardata.torch.Loader([torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2)], 2, workers=0))
