"""One suite over the formats of arrays in files: what workers read and write equals what the format's library does."""

import errno
import gc
import os
import pickle
import re
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pardata
from pardata.checkpoint.fingerprint import digest
from pardata.data.registry import file_array
from tests.conformance.data_formats import CHUNKS, LIBRARIES, each_kind, is_there, read_all, values_of, warm_up

BACKENDS = ("process", "thread")


@pytest.fixture(autouse=True)
def collected(request):
    """Have arrays of xarray collected, which are in cycles: the last one closes the file."""
    yield
    if "netcdf" in request.node.name:
        gc.collect()


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Start what the libraries start once."""
    warm_up()


@pytest.fixture(scope="module")
def pools():
    """A pool of each kind for all tests of this file: to start one takes longer than most of them."""
    with pardata.WorkerPool(2) as processes, pardata.WorkerPool(2, kind="thread") as threads:
        yield {"process": processes, "thread": threads}


def smooth(block):
    padded = np.pad(block, ((2, 2), (0, 0), (0, 0)), mode="edge")
    return sum(padded[shift : shift + len(block)] for shift in range(5))


def double(block):
    block *= 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", each_kind())
def test_workers_read_blocks(pools, kind, backend, tmp_path):
    values, pool, numbers = kind.values(), pools[backend], np.arange(50)
    array = kind.save(tmp_path / f"in{kind.ending}", values)
    assert np.array_equal(pool.map_array(np.sqrt, array), np.sqrt(values))
    assert np.array_equal(pool.map_array(np.sqrt, array, axis=1), np.sqrt(values))
    assert np.array_equal(pool.map_array(smooth, array, halo=2, chunksize=5), smooth(values))
    added = pool.map_array(lambda block, numbers: block + numbers[:, None, None], array, numbers)
    assert np.array_equal(added, values + numbers[:, None, None])
    assert np.array_equal(pool.map_array(lambda block: block.sum(axis=0), array, axis=2), values.sum(axis=0))
    assert pool.reduce_array(np.sum, array, lambda one, other: one + other) == values.sum()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", each_kind(is_written=True))
def test_blocks_end_where_chunks_and_shards_end(pools, kind, backend, tmp_path):
    array = kind.save(tmp_path / f"in{kind.ending}", kind.values())
    target = kind.create(tmp_path / f"out{kind.ending}")

    def lengths(block):
        return np.full_like(block, len(block))

    read = pools[backend].map_array(lengths, array)[:, 0, 0].tolist()
    pools[backend].map_array(lengths, kind.values(), out=target)
    written = np.asarray(target[:, 0, 0]).tolist()
    kind.close(target)
    if kind.options:
        assert read == [7] * 49 + [1]
        unit = kind.options.get("shards", CHUNKS)[0]
        assert [length for length in written if length % unit] == [50 % unit] * (50 % unit)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", each_kind(is_written=True))
def test_workers_write_blocks(pools, kind, backend, tmp_path):
    values, pool = kind.values(), pools[backend]
    array = kind.save(tmp_path / f"in{kind.ending}", values)
    target = kind.create(tmp_path / f"out{kind.ending}")
    assert pool.map_array(np.sqrt, array, out=target) is target
    assert np.array_equal(target[...], np.sqrt(values))
    pool.map_array(smooth, values, out=target, halo=2)
    assert np.array_equal(target[...], smooth(values))
    pool.map_array(np.negative, values, out=target, axis=1)
    assert np.array_equal(target[...], -values)
    for wrong, error in (
        (lambda block: block[:, :2], pardata.ConfigError),
        (lambda block: block * 1j, ValueError),
        (lambda block: block[1:], ValueError),
    ):
        with pytest.raises(error):
            pool.map_array(wrong, array, out=target)
    with pytest.raises(pardata.ConfigError, match="out is of float32, dtype=float64 was asked for"):
        pool.map_array(np.negative, values, out=target, dtype="f8")
    assert np.array_equal(target[...], -values)
    kind.close(target)
    with pytest.raises(pardata.ConfigError, match="open for reading|closed"):
        pool.map_array(
            np.sqrt, values, out=target if kind.library == "h5py" else kind.read(tmp_path / f"out{kind.ending}")
        )
    with pytest.raises(pardata.ConfigError, match="open for reading|is an input too"):
        pool.map_array(np.sqrt, array, out=array)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ending", LIBRARIES)
def test_a_new_file_takes_results_of_any_order(pools, ending, backend, tmp_path):
    """Of bytes, which not every format keeps, and of entries; and complex ones."""
    pytest.importorskip(LIBRARIES[ending])
    values = values_of()
    for number, dtype in enumerate((">f8", ">c16")):
        path = tmp_path / f"new{number}{ending}"
        made = pools[backend].map_array(lambda block, to=dtype: block.astype(to, order="F"), values, out=str(path))
        assert np.array_equal(made[...], values.astype(dtype))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ending", LIBRARIES)
def test_a_new_file_appears_whole_or_not_at_all(pools, ending, backend, tmp_path, monkeypatch):
    pytest.importorskip(LIBRARIES[ending])
    values, pool, path = values_of(), pools[backend], str(tmp_path / f"new{ending}")

    def look(block):
        return np.sqrt(block) + os.path.exists(path)

    def fail(block):
        raise RuntimeError("no")

    def late(block):
        return block if block[0, 0, 0] == 1 else fail(block)

    for wrong in (fail, late):
        with pytest.raises(RuntimeError):
            pool.map_array(wrong, values, out=path)
        assert os.listdir(tmp_path) == []
    made = pool.map_array(look, values, out=path, dtype="f8")
    assert np.array_equal(made[...], np.sqrt(values)) and made.dtype == "f8"
    assert os.listdir(tmp_path) == [f"new{ending}"]
    del made
    with pytest.raises(pardata.ConfigError, match="is there already"):
        pool.map_array(look, values, out=path)
    assert np.array_equal(read_all(path), np.sqrt(values))
    if ending == ".tif":
        with pytest.raises(pardata.ConfigError, match="holds images"):
            pool.map_array(np.sqrt, values[:0], out=str(tmp_path / "empty.tif"))
    else:
        empty = pool.map_array(np.sqrt, values[:0], out=str(tmp_path / f"empty{ending}"))
        assert empty.shape == (0, 6, 4)
    with pytest.raises(pardata.ConfigError, match="no such directory"):
        pool.map_array(look, values, out=str(tmp_path / "no" / f"x{ending}"))
    with monkeypatch.context() as patched, pytest.raises(pardata.ConfigError, match="no files may be made"):
        patched.setattr(os, "access", lambda *arguments: False)
        pool.map_array(fail, values, out=path + ending)
    with pytest.raises(pardata.ConfigError, match="is made in a folder"):
        pool.map_array(look, values, out=f"s3://bucket/x{ending}")
    with pytest.raises(pardata.ConfigError, match=r"pardata.open\(path\) opens an array"):
        pool.map_array(look, path)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("ending", "compression"), [(".tif", "zlib"), (".h5", "gzip")])
def test_a_new_file_is_compressed(pools, ending, compression, backend, tmp_path):
    pytest.importorskip(LIBRARIES[ending])
    values = np.repeat(values_of((12, 8, 8), "f4"), 32, axis=2)
    made = pools[backend].map_array(
        np.sqrt, values, out=str(tmp_path / f"a{ending}"), compression=compression, chunksize=5
    )
    assert made.shape == values.shape and np.array_equal(read_all(tmp_path / f"a{ending}"), np.sqrt(values))
    pardata.source(values).to(str(tmp_path / f"b{ending}"), compression=compression).run(engine="serial")
    assert np.array_equal(read_all(tmp_path / f"b{ending}"), values)
    assert all((tmp_path / f"{name}{ending}").stat().st_size < values.nbytes / 4 for name in "ab")
    for out in (f"{tmp_path}/c{ending}", f"{tmp_path}/c.npy", None):
        with pytest.raises(pardata.ConfigError, match="compression='none such'"):
            pools[backend].map_array(np.sqrt, values, out=out, compression="none such")
    with pytest.raises(pardata.ConfigError, match="compression='gzip' goes with a new"):
        pardata.source(values).to([], compression="gzip")
    del made


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.skipif(not is_there("zarr"), reason="not installed")
def test_an_input_under_another_name_is_no_output(pools, backend, tmp_path):
    """A halo would be read after its neighbour had been written."""
    import zarr

    zarr.create_array(str(tmp_path / "a.zarr"), data=values_of(), chunks=CHUNKS)
    (tmp_path / "link.zarr").symlink_to("a.zarr")
    one, other = (zarr.open_array(str(tmp_path / name), mode="r+") for name in ("a.zarr", "link.zarr"))
    with pytest.raises(pardata.ConfigError, match="is an input too"):
        pools[backend].map_array(smooth, one, out=other, halo=2)


@pytest.mark.parametrize("ending", [ending for ending, library in LIBRARIES.items() if is_there(library)])
def test_a_thread_that_writes_after_ctrl_c_leaves_nothing(ending, tmp_path):
    values, go_on, last = values_of(), threading.Event(), values_of()[20, 0, 0]

    def interrupted(block):
        if block[0, 0, 0] == last:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            go_on.wait(60)
        return block

    with pardata.WorkerPool(1, kind="thread") as pool:
        try:
            with pytest.raises(KeyboardInterrupt):
                pool.map_array(interrupted, values, out=str(tmp_path / f"x{ending}"), chunksize=10)
            assert os.listdir(tmp_path) == []
        finally:
            go_on.set()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", each_kind(is_written=True))
def test_a_killed_workers_chunks_are_read_and_written_again(kind, tmp_path):
    values, flag = kind.values(), tmp_path / "killed"
    array = kind.save(tmp_path / f"in{kind.ending}", values)
    target = kind.create(tmp_path / f"out{kind.ending}")

    def fragile(block):
        if block[-1, -1, -1] == values[-1, -1, -1] and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.sqrt(block)

    with pardata.WorkerPool(2) as pool:
        pool.map_array(fragile, array, out=target)
    assert flag.exists() and np.array_equal(target[...], np.sqrt(values))
    kind.close(target)


@pytest.mark.skipif(not is_there("zarr"), reason="not installed")
def test_a_full_disk_of_zarr_is_named(tmp_path, monkeypatch):
    import zarr

    array = file_array(zarr.create_array(str(tmp_path / "a.zarr"), shape=(4,), dtype="f4"))

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("set", "set_sync"):  # the second one since zarr 3.4
        monkeypatch.setattr(zarr.storage.LocalStore, name, full, raising=False)
    with pytest.raises(OSError, match="No space left on device: '.*a.zarr'"):
        array[:] = np.ones(4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", each_kind(library="zarr"))
def test_foreach_array_changes_a_zarr_array(pools, kind, backend, tmp_path):
    array = kind.create(tmp_path / "a.zarr")
    array[...] = kind.values()
    pools[backend].foreach_array(double, array)
    assert np.array_equal(array[...], 2 * kind.values())
    pools[backend].foreach_array(double, array, axis=1)
    assert np.array_equal(array[...], 4 * kind.values())
    with pytest.raises(pardata.ConfigError, match=r'open it with mode="r\+"'):
        pools[backend].foreach_array(double, kind.read(tmp_path / "a.zarr"))
    with pytest.raises(pardata.ConfigError, match="two workers would write"):
        pools[backend].foreach_array(double, array, chunksize=3)


@pytest.mark.filterwarnings("ignore:The data type")  # zarr, of S3 in format 3
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", each_kind())
@pytest.mark.parametrize(
    ("shape", "dtype"), [((0, 3), "f4"), ((1, 3), "i2"), ((9,), ">i4"), ((5, 2), ">f8"), ((6,), "S3"), ((6,), "?")]
)
def test_odd_shapes_and_dtypes(pools, kind, backend, shape, dtype, tmp_path):
    values, options = values_of(shape, dtype), {}
    if "chunks" in kind.options:
        options["chunks"] = (4, 2)[: len(shape)] if shape[0] > 1 else (1, 2)
        options |= {"shards": (8, 4)[: len(shape)] if shape[0] > 1 else (2, 4)} if "shards" in kind.options else {}
        options |= {"maxshape": (None, 3)} if kind.library == "h5py" and not shape[0] else {}
    if not kind.holds(shape, dtype):
        pytest.skip("the format has no such arrays")
    array = kind.save(tmp_path / f"in{kind.ending}", values, **options)
    made = pools[backend].map_array(lambda block: block, array)
    assert made.dtype == file_array(array).dtype and np.array_equal(made, values)
    if not kind.is_written:
        return
    target = kind.create(tmp_path / f"out{kind.ending}", values.shape, values.dtype, **options)
    pools[backend].map_array(lambda block: block, array, out=target)
    assert np.array_equal(target[...], values)
    kind.close(target)


@pytest.mark.parametrize("kind", [*each_kind(library="zarr"), *each_kind(library="h5py")])
def test_a_single_number_and_texts_are_refused(pools, kind, tmp_path):
    if kind.library == "h5py":
        import h5py

        array = h5py.File(tmp_path / "a.h5", "w")
        number, texts = array.create_dataset("n", (), "f4"), array.create_dataset("t", (3,), h5py.string_dtype())
    else:
        import zarr

        number = zarr.create_array(str(tmp_path / "n.zarr"), shape=(), dtype="f4")
        texts = zarr.create_array(str(tmp_path / "t.zarr"), shape=(3,), dtype=str)
    with pytest.raises(pardata.ConfigError, match="is a single number"):
        pools["thread"].map_array(np.sqrt, number)
    with pytest.raises(pardata.ConfigError, match="Python objects"):
        pools["thread"].map_array(np.sqrt, texts)
    kind.close(texts)


@pytest.mark.parametrize("kind", each_kind())
def test_a_deleted_file_is_an_error_and_no_zeros(pools, kind, tmp_path):
    array = kind.save(tmp_path / f"in{kind.ending}", kind.values())

    file = file_array(array)
    shutil.rmtree(tmp_path)
    with pytest.raises(pardata.BrokenError, match="cannot be opened again"):
        pickle.loads(pickle.dumps(file))[:]
    if kind.library == "zarr":
        with pytest.raises(pardata.BrokenError, match="cannot be opened again"):
            pools["process"].map_array(np.sqrt, array)


@pytest.mark.parametrize("kind", each_kind())
def test_a_file_that_was_replaced_by_another_is_an_error(kind, tmp_path):
    path = tmp_path / f"in{kind.ending}"
    array = kind.save(path, kind.values())
    read = file_array(array)
    sent, known = pickle.dumps(read), digest(read)
    files = [path, *path.rglob("*")]
    os.utime(next(file for file in reversed(files) if file.is_file()), (1, 1))
    assert digest(file_array(kind.read(path))) != known  # a job that goes on is told so, too
    kind.close(array)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    kind.save(path, kind.values((60, 6, 4)))
    with pytest.raises(pardata.StaleBlockError, match="replaced or resized"):
        pickle.loads(sent)[:]


@pytest.mark.parametrize("kind", each_kind())
def test_two_runs_at_once_read_one_file(pools, kind, tmp_path):
    array, values = kind.save(tmp_path / f"in{kind.ending}", kind.values()), kind.values()
    with ThreadPoolExecutor(2) as two:
        calls = [two.submit(pools["process"].map_array, fn, array) for fn in (np.sqrt, np.negative)]
        first, second = [call.result() for call in calls]
    assert np.array_equal(first, np.sqrt(values)) and np.array_equal(second, -values)
    read = file_array(array)
    assert digest(read) == (read[:], digest(read))[1]  # that of a job is the same when its process has read


@pytest.mark.parametrize("kind", each_kind(library="zarr"))
@pytest.mark.parametrize("fill", [0, np.nan])
def test_chunks_of_nothing_but_the_fill_value_are_left_out_as_zarr_does(kind, fill, tmp_path, monkeypatch):
    """Also where zarr need not compare them."""
    zarr_arrays = pytest.importorskip("pardata.data.zarr_arrays")
    monkeypatch.setattr(zarr_arrays, "_COMPARED_BYTES", 0)
    monkeypatch.setattr(zarr_arrays, "_COMPARES_FAST", False)
    seen, compared = zarr_arrays._has_no_empty_chunk, []
    monkeypatch.setattr(
        zarr_arrays, "_has_no_empty_chunk", lambda *given: compared.append(seen(*given)) or compared[-1]
    )
    whole, parts = values_of(), [(slice(0, 50), slice(0, 6)), (slice(3, 16), slice(1, 5))]
    empty, corner, signed = np.full_like(whole, fill), np.full_like(whole, fill), np.zeros_like(whole)
    corner[20, 5, 3], signed[20, 5, 3] = 7, -0.0
    ours, theirs = (kind.create(tmp_path / name, fill_value=fill) for name in ("ours", "theirs"))
    for values in (whole, empty, corner, signed):
        for rows, columns in parts:
            file_array(ours)[rows, columns] = values[rows, columns]
            theirs[rows, columns] = values[rows, columns]
            files = [sorted(path.relative_to(made) for path in made.rglob("*")) for made in tmp_path.iterdir()]
            assert files[0] == files[1] and np.array_equal(ours[...], theirs[...], equal_nan=True)
    assert True in compared and False in compared


@pytest.mark.skipif(not is_there("h5py"), reason="not installed")
@pytest.mark.parametrize(
    ("options", "is_compressed_by_workers"),
    [
        ({"compression": "gzip"}, True),
        ({"compression": "gzip", "compression_opts": 9, "shuffle": True}, True),
        ({"compression": "gzip", "fletcher32": True}, False),
        ({"compression": "lzf"}, False),
        ({"shuffle": True}, False),
    ],
)
def test_chunks_that_workers_compress_are_those_of_hdf5(pools, options, is_compressed_by_workers, tmp_path):
    """Also behind the end of the dataset, which may grow."""
    import h5py

    for dtype in ("f4", ">i4", "?"):
        values = values_of((23, 7), dtype)
        with h5py.File(tmp_path / "out.h5", "w") as file:
            target = file.create_dataset("x", (23, 7), dtype, chunks=(4, 3), maxshape=(None, 7), fillvalue=1, **options)
            assert (file_array(target).encoder() is not None) is is_compressed_by_workers
            for axis in (0, 1):
                target[...] = 0
                pools["process"].map_array(lambda block: block, values, out=target, axis=axis)
                assert np.array_equal(target[...], values)
            target.resize((25, 7))
        with h5py.File(tmp_path / "out.h5", "r") as file:
            assert np.array_equal(file["x"][:23], values) and (file["x"][23:] == 1).all()


@pytest.mark.parametrize("ending", [".zarr", ".h5"])  # a TIFF file has no chunks: two may write to any two parts of it
def test_a_block_that_kills_is_not_cut_for_two_to_write_one_chunk(ending, tmp_path):
    """Of an array in memory smaller blocks would be tried, to find the row to blame."""
    pytest.importorskip(LIBRARIES[ending])
    first = values_of()[28, 0, 0]

    def deadly(block):
        if block[0, 0, 0] == first:
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    def wrong(block):
        return block[: 1 if block[0, 0, 0] == first else None]

    with pardata.WorkerPool(2) as pool:
        with pytest.raises(pardata.WorkerLostError, match="worked on .*rows (28 to 34|28 to 35)"):
            pool.map_array(deadly, values_of(), out=str(tmp_path / f"x{ending}"))
        with pytest.raises(ValueError, match="returned shape") as caught:
            pool.map_array(wrong, values_of(), out=str(tmp_path / f"x{ending}"), chunksize=7)
    assert re.fullmatch("in the call of 'wrong'.* rows 28 to 35", caught.value.__notes__[0])
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not is_there("h5py"), reason="not installed")
def test_numbers_that_hdf5_converts_are_compressed_by_hdf5(pools, tmp_path):
    """Their bytes in the file are not those in memory: half as long, or at another place among the bits."""
    from h5py import File, h5d, h5p, h5s, h5t

    bfloat16, shifted = h5t.IEEE_F32LE.copy(), h5t.STD_U16LE.copy()
    bfloat16.set_fields(15, 7, 8, 0, 7)
    bfloat16.set_size(2)
    bfloat16.set_ebias(127)
    shifted.set_precision(12)
    shifted.set_offset(4)
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_chunk((4,))
    plist.set_deflate(4)
    with File(tmp_path / "a.h5", "w") as file:
        for number, kind in enumerate((bfloat16, shifted)):
            name = f"x{number}"
            h5d.create(file.id, name.encode(), kind, h5s.create_simple((10,)), plist)
            values = np.arange(10, dtype=file[name].dtype)
            pools["process"].map_array(lambda block: block, values, out=file[name])
            assert np.array_equal(file[name][:], values)


@pytest.mark.skipif(not is_there("h5py"), reason="not installed")
def test_hdf5_needs_a_place_for_whole_chunks(tmp_path, monkeypatch):
    """It would end the process at the close of a file with a chunk that had no place on the disk."""
    import h5py

    from pardata.memory import disk

    monkeypatch.setattr(disk, "free_bytes", lambda path: 5_000_000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for chunks, fits in (((900_000,), True), ((1_100_000,), False)):
            target = file.create_dataset(f"x{chunks}", (20,), "f4", chunks=chunks, maxshape=(None,))
            if fits:
                file_array(target)[10:] = np.ones(10)
                continue
            with pytest.raises(OSError, match="No space left"):
                file_array(target)[10:] = np.ones(10)
