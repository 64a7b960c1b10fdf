"""`map_array`, `reduce_array`, `foreach_array`: whatever the chunking and wherever the arrays lie, NumPy's result."""

import os

import numpy as np
import pytest

import pardata

KINDS = ["process", "thread"]


@pytest.fixture
def pool(request):
    with pardata.WorkerPool(2, kind=getattr(request, "param", "process")) as pool:
        yield pool


both = pytest.mark.parametrize("pool", KINDS, indirect=True)
VOLUME = np.random.default_rng(0).random((37, 23, 11))


@both
def test_every_axis_and_chunksize(pool):
    for axis in (0, 1, 2, -1):
        for chunksize in (1, 5, 1000, "auto", "static", "guided", "1ms", "2kB"):
            made = pool.map_array(lambda x: x * 2 + 1, VOLUME, axis=axis, chunksize=chunksize)
            assert np.array_equal(made, VOLUME * 2 + 1)


@both
def test_other_axes_may_change_or_go(pool):
    assert np.array_equal(pool.map_array(lambda x: x.mean(axis=2), VOLUME), VOLUME.mean(axis=2))
    assert np.array_equal(pool.map_array(lambda x: x.sum(axis=(1, 2)), VOLUME), VOLUME.sum(axis=(1, 2)))
    assert np.array_equal(pool.map_array(lambda x: x.max(axis=0), VOLUME, axis=1), VOLUME.max(axis=0))
    assert np.array_equal(pool.map_array(lambda x: x[..., :4], VOLUME, axis=1), VOLUME[..., :4])
    assert np.array_equal(pool.map_array(lambda x: x[..., None], VOLUME), VOLUME[..., None])
    assert np.array_equal(pool.map_array(lambda x: x > 0.5, VOLUME), VOLUME > 0.5)


@both
def test_several_arrays_are_cut_alike(pool):
    factors = np.arange(37.0)
    made = pool.map_array(lambda x, f: x * f[:, None, None], VOLUME, factors, chunksize=4)
    assert np.array_equal(made, VOLUME * factors[:, None, None])


@both
def test_a_halo_makes_borders_seamless(pool):
    def smooth(x):
        padded = np.pad(x, 2, mode="edge")
        return (padded[:-4] + padded[1:-3] + padded[2:-2] + padded[3:-1] + padded[4:]) / 5

    signal = np.random.default_rng(1).random(1000)
    for chunksize in (1, 7, "auto"):
        assert np.array_equal(pool.map_array(smooth, signal, halo=2, chunksize=chunksize), smooth(signal))
    assert np.array_equal(pool.map_array(lambda x: x, VOLUME, axis=1, halo=3, chunksize=2), VOLUME)


@both
def test_out_and_dtype(pool):
    out = np.empty(VOLUME.shape)
    assert pool.map_array(np.sqrt, VOLUME, out=out) is out
    assert np.array_equal(out, np.sqrt(VOLUME))
    halves = pool.map_array(np.sqrt, VOLUME, dtype=np.float32)
    assert halves.dtype == np.float32 and np.array_equal(halves, np.sqrt(VOLUME).astype(np.float32))
    array = pardata.array(VOLUME)
    assert pool.map_array(np.sqrt, array, out=array) is array  # in place: a chunk may be done again all the same
    assert np.array_equal(array, np.sqrt(VOLUME))
    behind = np.empty((23, 37, 11)).swapaxes(0, 1)
    assert np.array_equal(pool.map_array(np.sqrt, VOLUME, out=behind), np.sqrt(VOLUME))


@both
def test_files_are_read_and_written_where_they_are(pool, tmp_path):
    path, target = tmp_path / "in.npy", tmp_path / "out.npy"
    np.save(path, VOLUME)
    mapped = np.load(path, mmap_mode="r")
    made = pool.map_array(np.sqrt, mapped, out=target)
    assert isinstance(made, np.memmap)
    assert np.array_equal(np.load(target), np.sqrt(VOLUME))
    assert np.array_equal(pool.map_array(np.sqrt, mapped[3:30, ::2], axis=1), np.sqrt(VOLUME[3:30, ::2]))
    opened = np.lib.format.open_memmap(tmp_path / "third.npy", "w+", float, VOLUME.shape)
    assert pool.map_array(np.sqrt, mapped, out=opened) is opened
    assert np.array_equal(np.load(tmp_path / "third.npy"), np.sqrt(VOLUME))
    same = np.load(path, mmap_mode="r+")
    pool.map_array(np.square, mapped, out=same)  # the file is read and written, in two mappings
    assert np.array_equal(np.load(path), VOLUME**2)
    private = np.load(path, mmap_mode="c")
    private[:] = 4
    assert (pool.map_array(np.sqrt, private) == 2).all()
    assert sorted(os.listdir(tmp_path)) == ["in.npy", "out.npy", "third.npy"]


@both
def test_a_file_that_cannot_be_finished_does_not_appear(pool, tmp_path):
    np.save(tmp_path / "out.npy", np.arange(3))

    def fail_late(x):
        if x[0] > 90:
            raise ValueError("late")
        return x

    with pytest.raises(ValueError, match="late"):
        pool.map_array(fail_late, np.arange(100.0), out=str(tmp_path / "out.npy"), chunksize=1)
    assert os.listdir(tmp_path) == ["out.npy"]
    assert np.array_equal(np.load(tmp_path / "out.npy"), np.arange(3))


@both
def test_reduce(pool):
    assert pool.reduce_array(np.sum, np.arange(10_000), lambda x, y: x + y) == np.arange(10_000).sum()
    words = np.array([f"{n}," for n in range(500)])
    joined = pool.reduce_array("".join, words, lambda x, y: x + y, chunksize=3)
    assert joined == "".join(words)  # in order
    counts = pool.reduce_array(lambda x: np.histogram(x, 10, (0, 1))[0], VOLUME, np.add, axis=2)
    assert np.array_equal(counts, np.histogram(VOLUME, 10, (0, 1))[0])
    assert pool.reduce_array(np.sum, np.zeros(0), np.add) == 0


@both
def test_foreach_changes_its_array(pool, tmp_path):
    def double(x):
        x *= 2

    for array in (VOLUME.copy(), pardata.array(VOLUME)):
        assert pool.foreach_array(double, array, axis=1) is None
        assert np.array_equal(array, VOLUME * 2)
    np.save(tmp_path / "in.npy", VOLUME)
    pool.foreach_array(double, np.load(tmp_path / "in.npy", mmap_mode="r+"))
    assert np.array_equal(np.load(tmp_path / "in.npy"), VOLUME * 2)


@both
def test_arrays_without_entries(pool, tmp_path):
    assert pool.map_array(lambda x: x[:, :2], np.zeros((0, 5))).shape == (0, 2)
    assert pool.map_array(np.sqrt, np.zeros((0, 5)), out=tmp_path / "empty.npy").shape == (0, 5)
    for count in (0, 3):
        out = pool.map_array(lambda x: x[:, :0], np.zeros((10, count)), out=tmp_path / "none.npy")
        assert out.shape == (10, 0) and np.load(tmp_path / "none.npy").shape == (10, 0)
    pool.foreach_array(np.sqrt, np.zeros(0))


@both
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"axis": 3}, pardata.ConfigError, r"axis=3 for an array of shape \(37, 23, 11\), which has no such axis"),
        ({"axis": 1.5}, pardata.ConfigError, "axis must be an int"),
        ({"chunksize": 0}, pardata.ConfigError, "chunksize must be an int of at least 1"),
        ({"chunksize": "fast"}, pardata.ConfigError, "not 'fast'"),
        ({"halo": -1}, pardata.ConfigError, "halo must be an int of at least 0"),
        ({"out": np.zeros((37, 23))}, pardata.ConfigError, r"out has shape \(37, 23\).*need \(37, 23, 11\)"),
        ({"out": np.zeros((4, 4))}, pardata.ConfigError, "out must be a writable array of 37 rows"),
        ({"out": np.zeros(VOLUME.shape, int)}, ValueError, "float64, which does not fit the output's int64"),
        ({"out": "out.txt"}, pardata.ConfigError, "or .npy file"),
        ({"out": "/no/such/folder/out.npy"}, pardata.ConfigError, "no such directory"),
        ({"dtype": object}, pardata.ConfigError, "holds Python objects"),
        ({"dtype": int}, ValueError, "float64, which does not fit the output's int64"),
    ],
)
def test_bad_input_is_told_before_anything_is_overwritten(pool, options, error, message):
    out = options.get("out")
    with pytest.raises(error, match=message):
        pool.map_array(lambda x: x + 0.5, VOLUME, **options)
    assert not isinstance(out, np.ndarray) or not out.any()
    assert np.array_equal(pool.map_array(np.sqrt, VOLUME), np.sqrt(VOLUME))


@both
def test_arrays_that_cannot_be_cut_alike_or_shared(pool):
    with pytest.raises(pardata.ConfigError, match=r"cuts all arrays alike: shape \(36,\) has not 37 entries"):
        pool.map_array(lambda x, y: x, VOLUME, np.zeros(36))
    with pytest.raises(pardata.ConfigError, match="holds Python objects"):
        pool.map_array(abs, np.array([None, 1]))
    with pytest.raises(pardata.ConfigError, match="masked array"):
        pool.map_array(abs, np.ma.masked_array([1, 2], [0, 1]))
    with pytest.raises(pardata.ConfigError, match="writable"):
        pool.foreach_array(abs, np.broadcast_to(1.0, 5))
    with pytest.raises(pardata.ConfigError, match="needs a function"):
        pool.map_array(3, VOLUME)


@both
def test_results_that_do_not_fit_together(pool):
    with pytest.raises(ValueError, match="returned int64, which does not fit the output's float64"):
        pool.map_array(lambda x: x if x[0] < 50 else x.astype(int), np.arange(100.0), chunksize=1)
    with pytest.raises(ValueError, match="must return one row per row"):
        pool.map_array(lambda x: x[:1], np.arange(100.0), chunksize=10)
    with pytest.raises(ValueError, match=r"returned shape \(10, 3\) for 10 rows where \(10, 2\)"):
        pool.map_array(lambda x: np.zeros((10, 2 if x[0] < 50 else 3)), np.arange(100.0), chunksize=10)
    with pytest.raises(pardata.ConfigError, match="returned Python objects"):
        pool.map_array(lambda x: [None] * len(x), np.arange(100.0))
    for masked_from in (0, 50):  # the first block's result goes another way
        with pytest.raises(ValueError, match="returned a masked array, and its mask would be lost"):
            pool.map_array(lambda x, m=masked_from: np.ma.masked_array(x, x >= m), np.arange(100.0), chunksize=10)
    assert np.array_equal(pool.map_array(lambda x: np.ma.masked_array(x, False), np.arange(9.0)), np.arange(9.0))


@both
def test_arrays_in_named_blocks_are_used_where_they_are(pool):
    with pardata.SharedMemoryManager() as manager:
        array = manager.array(VOLUME)
        assert np.array_equal(pool.map_array(np.sqrt, array[3:]), np.sqrt(VOLUME[3:]))
        assert pool.map_array(np.sqrt, VOLUME, out=array) is array
        assert np.array_equal(array, np.sqrt(VOLUME))
        del array
