"""Numbers of bytes as a user writes them."""

import numpy as np
import pytest

import pardata
from pardata.memory.sizes import count_bytes


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (1, 1), (2e9, 2_000_000_000), (np.int64(7), 7), (np.float32(8), 8), ("1GB", 10**9), ("1.5 MB", 1_500_000),
        ("2MiB", 2 << 20), (" 3 kB ", 3000), ("4KB", 4000), ("5B", 5), ("0.5TiB", 1 << 39), ("1.0000001kB", 1000),
    ],
)  # fmt: skip
def test_sizes_are_counted(value, count):
    found = count_bytes("limit", value)
    assert found == count and type(found) is int


WRONG = [0, -1, 1.5, True, "0MB", "0.1B", "GB", "1 gb", "1 G", "-1GB", "", "1e9", b"1GB", [], None]


@pytest.mark.parametrize("value", [*WRONG, float("nan"), float("inf")])
def test_what_is_no_size_is_refused(value):
    told = "limit must be an int of at least 1 .bytes., or a size such as .*; the units are B, kB, KB, MB, GB, .*, TiB$"
    with pytest.raises(pardata.ConfigError, match=told):
        count_bytes("limit", value)


def test_every_limit_takes_sizes(tmp_path):
    numbers = pardata.source([1, 2])
    assert list(numbers.map(abs).iterate(memory_limit="1GB")) == [1, 2]
    assert pardata.run(numbers.to([]), memory_limit="0.5GiB", engine="serial").stages[0].items == 2
    with pytest.raises(pardata.CapacityError, match=r"limit of 1.0 kB"):
        numbers.run(memory_limit="1kB")
    with pardata.WorkerPool(1, memory_limit="200MB") as pool:
        assert pool.submit(abs, -1).result() == 1
    with pardata.PagedFile.create(tmp_path / "rows", item_shape=(10,), page_bytes="160 B") as writer:
        writer.extend(np.ones((4, 10)))
    with pardata.PagedFile(tmp_path / "rows") as file:
        assert len(list(file.pages())) == 2
    for refused in (
        lambda: numbers.run(memory_limit="much"),
        lambda: pardata.WorkerPool(1, memory_limit="much"),
        lambda: pardata.PagedFile.create(tmp_path / "b", page_bytes="2GB"),
    ):
        with pytest.raises(pardata.ConfigError, match="_(limit|bytes) must be an int of .* not '(much|2GB)'"):
            refused()
