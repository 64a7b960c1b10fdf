"""`map_array` over rows that are read page by page: whole pages per call, each worker reads its own."""

import numpy as np
import pytest

import pardata
from tests.process.page_writers import Counted


@pytest.mark.parametrize("with_out", [False, True])
def test_chunks_end_where_pages_end(with_out):
    rows = Counted(100_000, 30_000)
    out = np.zeros((100_000, 2), np.int64) if with_out else None
    with pardata.WorkerPool(2) as pool:
        result = pool.map_array(lambda part: part * 1, rows, out=out)
    assert result is out or not with_out
    assert np.array_equal(result[:, 0], np.arange(100_000))
    assert set(result[:, 1].tolist()) <= {0, 30_000, 60_000, 90_000}


def test_a_fixed_chunksize_is_kept_and_no_rows_are_no_task():
    with pardata.WorkerPool(1) as pool:
        result = pool.map_array(lambda part: part[:, 1], Counted(10, 4), chunksize=5)
        assert result.tolist() == [0] * 5 + [5] * 5
        assert pool.map_array(lambda part: part.sum(axis=1), Counted(0, 4)).shape == (0,)
