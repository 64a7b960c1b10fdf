"""Every dtype through every way to keep an array: it comes back the same, or is refused before anything is written."""

import contextlib

import numpy as np
import pytest

import pardata
from pardata.files import read_pieces, write_pieces
from pardata.lookup.wire import NPY, pack, unpack


@pytest.fixture(autouse=True, scope="module")
def the_thread_of_zarr():
    """Zarr starts it at its first read, and keeps it."""
    with contextlib.suppress(ImportError):
        import zarr

        zarr.zeros(1)[:]


def dtypes():
    """Every kind of NumPy's, those that others register, and those with more than a description says."""
    yield from map(
        np.dtype, [*"?bhilqBHILQefdgFDG", "S3", "U2", "V5", "M8[ns]", "M8[D]", "m8[us]", ">i4", ">f8", ">U2"]
    )
    yield np.dtype([("a", "i4"), ("b", "f8", (2,)), ("c", "U3")])
    yield np.dtype([("a", "i1"), ("b", "i8")], align=True)
    yield np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]})
    yield np.dtype("i1", metadata={"enum": {"a": 1}})
    yield np.dtype([("a", np.dtype("f4", metadata={"unit": "m"}))])
    if hasattr(np.dtypes, "StringDType"):
        yield np.dtypes.StringDType()
    try:
        import ml_dtypes
    except ImportError:
        return
    for name in ("bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e3m4", "int4", "uint4", "int2", "float4_e2m1fn"):
        yield np.dtype(getattr(ml_dtypes, name))
    yield np.dtype([("a", ml_dtypes.bfloat16), ("b", "i4")])


def rows_of(dtype):
    """Rows of two entries, of any dtype."""
    if dtype.kind == "T":
        return np.array([["a", "b"], ["c", "d"]], dtype)
    if dtype.kind == "?":
        return np.array([[True, False], [False, True]])
    if dtype.kind in "SU":
        return np.array([["a", "b"], ["c", ""]], dtype)
    made = np.zeros((2, 2), dtype)
    if dtype.kind in "V" and dtype.names is None and dtype.isbuiltin != 2:
        return np.arange(2 * 2 * dtype.itemsize, dtype=np.uint8).view(dtype).reshape(2, 2)
    for name in dtype.names or ():
        made[name] = np.ones((), made.dtype[name])
    if dtype.names is None:
        made[:] = np.array([[1, 0], [0, 1]]).astype(dtype)
    return made


def npy_sink(rows, path):
    pardata.source(list(rows)).to(f"{path}.npy").run(engine="serial")
    return np.load(f"{path}.npy")


def npy_output(rows, path):
    with pardata.WorkerPool(1, kind="thread") as pool:
        pool.map_array(lambda part: part, rows, out=f"{path}.npy")
    return np.load(f"{path}.npy")


def pieces(rows, path):
    write_pieces(rows, path, 1)
    (piece,) = read_pieces(path)
    return piece.open()


def paged(rows, path):
    with pardata.PagedFile.create(path, dtype=rows.dtype, item_shape=(2,)) as writer:
        writer.extend(rows)
    return pardata.PagedFile(path)[:]


def table(rows, path):
    return pardata.Table([0, 1], rows).get_many([0, 1])


def database(rows, path):
    return pardata.Database.create(path, [0, 1], rows).get_many([0, 1])


def service(rows, path):
    body, kind = pack(np.ones(2, bool), {None: rows}, wants_npy=True)
    return unpack(body, kind, [None])[1][None]


def service_in_json(rows, path):
    body, kind = pack(np.ones(2, bool), {None: rows}, wants_npy=False)
    assert kind != NPY
    return unpack(body, kind, [None])[1][None]


WAYS = [npy_sink, npy_output, pieces, paged, table, database, service, service_in_json]


def is_same(made, rows):
    if rows.dtype.hasobject:
        return made.tolist() == rows.tolist()
    same_dtype = made.dtype.newbyteorder("=") == rows.dtype.newbyteorder("=")
    return same_dtype and made.dtype.metadata == rows.dtype.metadata and repr(made.tolist()) == repr(rows.tolist())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", list(dtypes()), ids=lambda dtype: f"{dtype} {dtype.metadata or ''}".strip())
def test_a_dtype_comes_back_or_is_refused(dtype, way, tmp_path):
    rows = rows_of(dtype)
    try:
        made = way(rows, tmp_path / "made")
    except (pardata.ConfigError, TypeError, ValueError) as error:
        assert not [path for path in tmp_path.iterdir() if not path.is_dir() or any(path.iterdir())]
        assert dtype.hasobject or "hold" in str(error)
        assert dtype.hasobject or dtype.names or dtype.metadata or dtype.isbuiltin == 2, error
    else:
        assert is_same(made, rows)


@pytest.mark.parametrize("way", [pieces, paged, table, database, service, service_in_json])
def test_registered_dtypes_are_kept_by_all_that_write_down_their_name(way, tmp_path):
    dtype = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    assert is_same(way(rows_of(dtype), tmp_path / "made"), rows_of(dtype))


def test_single_values_of_registered_dtypes_are_kept(tmp_path):
    kind = pytest.importorskip("ml_dtypes").bfloat16
    values = np.array([1.5, 2.5], kind)
    assert pardata.Database.create(tmp_path / "a.db", [1, 2], values)[2] == 2.5
    kept = pardata.Table([1, 2], values)
    assert kept[2] == 2.5
    with pardata.serve(kept) as server, server.lookup() as known:
        assert known[2] == 2.5
        assert known.get_many([2, 1]).dtype == kind and known.get_many([2, 1]).tolist() == [2.5, 1.5]


@pytest.mark.parametrize("dtype", list(dtypes()), ids=lambda dtype: f"{dtype} {dtype.metadata or ''}".strip())
def test_zarr_reads_the_same_or_the_link_is_refused(dtype, tmp_path):
    zarr = pytest.importorskip("zarr")
    rows = rows_of(dtype)
    try:
        paged(rows, tmp_path / "made")
    except pardata.ConfigError:
        return
    file = pardata.PagedFile(tmp_path / "made")
    try:
        file.link_as_zarr(tmp_path / "linked")
    except pardata.ConfigError as error:
        assert "a Zarr array has a dtype of" in str(error) and not (tmp_path / "linked").exists()
        assert dtype.kind not in "?biu" or dtype.isbuiltin == 2
    else:
        made = zarr.open_array(tmp_path / "linked", mode="r")[:]
        assert is_same(made, rows)
