"""NetCDF files beside what the conformance suite asks of every format: what xarray makes of values, and refusals."""

import fcntl
import gc
import pickle
from unittest.mock import MagicMock

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array
from tests.conformance.data_formats import values_of

pytest.importorskip("netCDF4")
xr = pytest.importorskip("xarray")

VALUES = values_of((6, 5, 4), "i2")


@pytest.fixture
def path(tmp_path):
    """Return the path of a file with several variables."""
    dims = ("t", "y", "x")
    data = xr.Dataset(
        {
            "plain": (dims, VALUES),
            "scaled": (dims, VALUES * 0.5 + 10),
            "missing": (dims, np.where(VALUES == 7, np.nan, VALUES)),
            "days": ("t", np.arange(6).astype("M8[D]").astype("M8[ns]")),
            "names": ("t", np.array(["a", "bc", "d", "e", "f", "g"], object)),
        },
        {"t": np.arange(6) * 2},
    )
    encoding = {
        "plain": {"chunksizes": (2, 5, 3), "zlib": True},
        "scaled": {"dtype": "i2", "scale_factor": 0.5, "add_offset": 10, "_FillValue": -9},
        "missing": {"dtype": "i4", "_FillValue": -1},
    }
    data.to_netcdf(tmp_path / "a.nc", encoding=encoding, engine="netcdf4")
    return tmp_path / "a.nc"


@pytest.mark.parametrize("name", ["plain", "scaled", "missing", "days"])
def test_parts_of_a_variable_are_those_of_the_library(path, name):
    with xr.open_dataset(path) as data:
        for change in (lambda array: array, lambda array: array[1:5], lambda array: array.T):
            array = change(data[name])
            found = file_array(array)
            sent = pickle.dumps(found)
            assert len(sent) < 8_000
            expected = array.copy().to_numpy()
            for opened in (found, pickle.loads(sent)):
                assert opened.dtype == expected.dtype and np.array_equal(opened[:], expected, equal_nan=True)
                assert np.array_equal(opened[1:3], expected[1:3], equal_nan=True)
        assert name != "plain" or file_array(data[name].T).page_shape == (3, 5, 2)


def test_values_that_were_looked_at_are_in_memory(path):
    with xr.open_dataset(path) as data:
        found = file_array(data["plain"])
        assert np.array_equal(data["plain"].values, VALUES)
        assert file_array(data["plain"]) is None and file_array(data["t"]) is None
        assert len(pickle.dumps(found)) < 8_000
        assert file_array(xr.DataArray(VALUES)) is None


def test_what_cannot_be_opened_is_told(path):
    with pytest.raises(pardata.ConfigError, match="has 5 arrays, 'plain', 'scaled'"):
        pardata.open(path)
    with pytest.raises(pardata.ConfigError, match="No such file"):
        pardata.open(path.with_name("b.nc"))
    with pytest.raises(pardata.ConfigError, match="does not say of which file"):
        file_array(pardata.open(path, key="names")).check_sendable()
    assert pardata.open(path, key="t").equals(xr.open_dataset(path)["t"])  # a coordinate, if it is asked for


def test_a_worker_leaves_the_file_unlocked(path):
    import netCDF4

    with xr.open_dataset(path, engine="netcdf4") as data:
        sent = pickle.dumps(file_array(data["plain"]))
    assert np.array_equal(pickle.loads(sent)[:], VALUES)
    opened = pickle.loads(sent)
    assert np.array_equal(opened[2:], VALUES[2:])
    with netCDF4.Dataset(path, "a") as file:
        file.variables["plain"][0] = 0
    with pytest.raises(pardata.StaleBlockError, match="was written to"):
        opened[:]


def test_a_result_of_the_same_shape_keeps_the_names(path):
    with xr.open_dataset(path) as data, pardata.WorkerPool(1, kind="thread") as pool:
        lazy = data["scaled"].assign_attrs(units="K").transpose("x", "t", "y")
        for array in (lazy, lazy.copy().load()):
            made = pool.map_array(np.sqrt, array, axis=1)
            expected = np.sqrt(array).assign_attrs(units="K")
            assert made.identical(expected) and made.name == "scaled" and not made.encoding
        assert type(pool.map_array(lambda block: block[..., 0], lazy)) is np.ndarray
        out = np.empty(lazy.shape)
        assert pool.map_array(np.sqrt, lazy, out=out) is out
        with pytest.raises(pardata.ConfigError, match="a Dataset has variables, .*'plain'"):
            pool.map_array(np.sqrt, data)


@pytest.mark.parametrize("name", ["plain", "scaled", "missing", "t"])
def test_variables_of_netcdf4_itself(path, name):
    import netCDF4

    with netCDF4.Dataset(path) as file:
        variable = file[name]
        expected = variable[:]
        found = file_array(variable)
        sent = pickle.loads(pickle.dumps(found))
        variable.set_auto_scale(False)
        raw = pickle.loads(pickle.dumps(file_array(variable)))
        assert found.page_shape == ((2, 5, 3) if name == "plain" else found.page_shape)
        for array in (file_array(file[name]), raw):
            assert np.array_equal(array[1:2], variable[1:2])
        assert sent.dtype == expected.dtype
        if name == "missing":
            with pytest.raises(pardata.LossError, match="a.nc:/missing holds a masked array"):
                sent[:]
        else:
            assert np.array_equal(sent[:], expected) and np.array_equal(sent[2:4], expected[2:4])
        with pytest.raises(pardata.ConfigError, match="a netCDF4 Dataset has variables"):
            file_array(file)
    with pytest.raises(pardata.ConfigError, match="was closed"):
        file_array(variable)
    path.unlink()
    with pytest.raises(pardata.BrokenError):
        sent[:]


def test_characters_that_netcdf4_joins_to_texts_are_refused_and_read_as_characters(tmp_path):
    import netCDF4

    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("x", 2)
        file.createDimension("n", 3)
        variable = file.createVariable("c", "S1", ("x", "n"))
        variable._Encoding = "ascii"
        variable[:] = np.array(["abc", "def"], "S3")
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        variable = file["c"]
        with pytest.raises(pardata.ConfigError, match=r"joins the characters of 'c' .*set_auto_chartostring\(False\)"):
            file_array(variable)
        variable.set_auto_chartostring(False)
        sent = pickle.loads(pickle.dumps(file_array(variable)))
        assert sent[:].tolist() == [[b"a", b"b", b"c"], [b"d", b"e", b"f"]]


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF4", "diskless", "read into memory"])
def test_a_variable_whose_values_may_not_be_in_the_file_goes_to_threads_only(kind, tmp_path):
    """A worker would read what the file had before, without an error, or be told of an HDF error."""
    import netCDF4

    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w", format=kind if kind.startswith("NET") else "NETCDF4") as file:
        file.createDimension("x", 3)
        file.createVariable("v", "i4", ("x",))[:] = 0
    with netCDF4.Dataset(path) as file:
        pickle.dumps(file_array(file["v"]))
    if kind == "diskless":  # of the same name as the file that is there
        file = netCDF4.Dataset(path, "w", diskless=True)
        file.createDimension("x", 3)
        variable = file.createVariable("v", "i4", ("x",))
    elif kind == "read into memory":
        file = netCDF4.Dataset(path, "r", memory=path.read_bytes())
        variable = file["v"]
    else:
        file = netCDF4.Dataset(path, "r+")
        variable = file["v"]
    with file:
        if kind != "read into memory":
            variable[:] = [1, 2, 3]
        found = file_array(variable)
        assert found[:].tolist() == variable[:].tolist()
        why = (
            "open for writing.*open it with"
            if kind.startswith("NET")
            else r"in the memory of this process.*variable\[:\]"
        )
        with pytest.raises(pardata.ConfigError, match=why):
            pickle.dumps(found)


@pytest.mark.parametrize("is_loaded", [False, True])
def test_the_items_of_a_dataarray_keep_its_labels(path, is_loaded):
    with xr.open_dataset(path) as data:
        array = data["plain"].assign_attrs(units="K").assign_coords(place=(("y", "x"), VALUES[0]), run=3)
        expected = array.copy().load()
        for options, parts in (
            ({}, list(expected)),
            ({"axis": 1}, [expected[:, at] for at in range(5)]),
            ({"by": 4}, [expected[:4], expected[4:]]),
            ({"by": 3, "axis": -1}, [expected[..., :3], expected[..., 3:]]),
        ):
            for workers in (1,) if is_loaded else (1, 2):
                given = expected if is_loaded else array
                found = list(pardata.source(given, workers=workers, **options).iterate(engine="serial"))
                assert [one.identical(other) for one, other in zip(found, parts, strict=True)] == [True] * len(parts)
        stream = pardata.source(array, by=2).map(lambda part: part.mean("t"))
        assert xr.concat(stream.iterate(engine="processes"), "t").identical(
            xr.concat([expected[at : at + 2].mean("t") for at in (0, 2, 4)], "t")
        )
        assert not array.variable._in_memory


def test_a_sink_takes_the_values_of_a_dataarray(path, tmp_path):
    with xr.open_dataset(path) as data:
        pardata.source(data["plain"]).to(tmp_path / "a.npy").run(engine="serial")
        pardata.source([part for _, part in data["plain"].groupby("t")]).to(tmp_path / "b.npy").run(engine="serial")
    assert np.array_equal(np.load(tmp_path / "a.npy"), VALUES)
    assert np.array_equal(np.load(tmp_path / "b.npy"), VALUES[:, None])


def test_a_file_that_is_locked_says_who_must_close_it(tmp_path):
    """As HDF5 locks a file that is open for writing."""
    import netCDF4

    path = tmp_path / "a.nc"
    xr.DataArray(np.arange(6.0), name="x").to_netcdf(path, engine="netcdf4")
    with netCDF4.Dataset(path) as file:
        sent = [pickle.dumps(file_array(found)) for found in (file["x"], xr.open_dataset(path)["x"])]
    gc.collect()
    with open(path) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(pardata.ConfigError, match="must be closed first"):
            pardata.open(path)
        for array in sent:
            with pytest.raises(pardata.BrokenError, match="must be closed first"):
                pickle.loads(array)[:]
    assert all(np.array_equal(pickle.loads(array)[:], np.arange(6.0)) for array in sent)


def test_xarray_stays_out_of_the_library_while_a_variable_is_read(path, monkeypatch):
    """It has a lock of its own: with both at work threads of a pool got HDF errors."""
    import netCDF4

    with netCDF4.Dataset(path) as file:
        lock = MagicMock()
        monkeypatch.setattr("xarray.backends.netCDF4_.NETCDF4_PYTHON_LOCK", lock)
        found = file_array(file["plain"])
        assert lock.__exit__.call_count == 1
        lock.__enter__.side_effect = TimeoutError
        with pytest.raises(TimeoutError):
            found[:]
