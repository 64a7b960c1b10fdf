"""What means more than its numbers is refused on every way into plain memory, and nothing else is."""

import numpy as np
import pytest

import pardata
from pardata.files import split
from pardata.memory.plain import plain_array

MASKED = np.ma.masked_array([1.0, 9.96921e36], [False, True])


class Tagged(np.ndarray):
    """As a photograph's array: with a note that changes none of the numbers."""

    note = "taken at noon"


def astropy_quantity():
    return np.arange(3.0) * pytest.importorskip("astropy.units").m


def astropy_column():
    return pytest.importorskip("astropy.table").Column([1.0, 2.0], unit="m")


def astropy_masked():
    return pytest.importorskip("astropy.utils.masked").Masked(np.arange(3.0), mask=[True, False, False])


def unyt_array():
    return pytest.importorskip("unyt").unyt_array([1.0, 2.0], "m")


def quantities_quantity():
    return pytest.importorskip("quantities").Quantity([1.0, 2.0], "m")


def pint_quantity():
    return np.arange(3.0) * pytest.importorskip("pint").UnitRegistry().m


def netcdf_variable():
    netcdf = pytest.importorskip("netCDF4")
    file = netcdf.Dataset("in memory", "w", diskless=True)
    file.createDimension("x", 3)
    variable = file.createVariable("v", "f4", ("x",))
    variable[:2] = [1, 2]
    return variable


MEANS_MORE = {
    "masked": lambda: MASKED,
    "masked record": lambda: np.ma.masked_array([(1, 2)], mask=[(False, True)], dtype=[("a", int), ("b", int)]),
    "masked scalar": lambda: np.ma.masked,
    "list of masked": lambda: [MASKED, MASKED],
    "list of lists of masked": lambda: [[MASKED], (MASKED,)],
    "quantity": astropy_quantity,
    "scalar quantity": lambda: astropy_quantity()[1],
    "list of quantities": lambda: [astropy_quantity()],
    "column with a unit": astropy_column,
    "astropy masked": astropy_masked,
    "unyt": unyt_array,
    "quantities": quantities_quantity,
    "pint": pint_quantity,
    "list of pint": lambda: [pint_quantity()],
    "netCDF variable": netcdf_variable,
}


@pytest.mark.parametrize("name", MEANS_MORE)
def test_masks_and_units_are_refused_and_the_way_out_is_named(name):
    with pytest.raises(pardata.LossError, match=r"^f got .*(\.filled\(|\.value|\.magnitude|numpy\.asarray)"):
        plain_array(MEANS_MORE[name](), "f got")


PLAIN = {
    "nothing is masked": (np.ma.masked_array([1, 2], [False, False]), [1, 2]),
    "no mask": (np.ma.masked_array([1, 2]), [1, 2]),
    "matrix": (np.arange(2)[np.newaxis].view(np.matrix), [[0, 1]]),
    "record with a field unit": (np.rec.array([(1,)], dtype=[("unit", int)]), [(1,)]),
    "a note": (np.arange(2).view(Tagged), [0, 1]),
    "list": ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    "list of arrays": ([np.arange(2), np.arange(2)], [[0, 1], [0, 1]]),
    "number": (3, 3),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_numbers_alone_is_taken(name):
    given, wanted = PLAIN[name]
    made = plain_array(given, "f got")
    assert type(made) is np.ndarray and made.tolist() == wanted
    if isinstance(given, np.ndarray):
        assert np.shares_memory(made, given)


class Elsewhere:
    """An array of a library that speaks DLPack alone."""

    def __init__(self, array, why_not=""):
        self._array, self._why_not = array, why_not

    def __dlpack__(self, **options):
        if self._why_not:
            raise BufferError(self._why_not)
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_an_array_that_speaks_dlpack_alone_is_taken_without_a_copy():
    array = np.arange(6.0)
    assert np.shares_memory(plain_array(Elsewhere(array), "f got"), array)
    with pytest.raises(pardata.ConfigError, match=r"^f got a Elsewhere that NumPy cannot read: copy it .*on a GPU"):
        plain_array(Elsewhere(array, "it is on a GPU"), "f got")


def test_columns_without_a_unit_and_masks_of_nothing_are_taken():
    table, masked = pytest.importorskip("astropy.table"), pytest.importorskip("astropy.utils.masked")
    assert plain_array(table.Column([1, 2]), "f got").tolist() == [1, 2]
    assert plain_array(masked.Masked([1, 2], mask=[False, False]), "f got").tolist() == [1, 2]


def test_a_dtype_converts_what_is_plain():
    assert plain_array(["1", "2"], "f got", float).tolist() == [1.0, 2.0]
    assert plain_array(np.arange(2), "f got", np.int8).dtype == np.int8


class Metres(np.ndarray):
    """As unyt's and astropy's arrays: numbers that count something."""

    units = "m"


WAYS = {
    "array": pardata.array,
    "split": split,
    "table": lambda values: pardata.Table([0], values.reshape(1, -1)),  # masks of whole entries are kept
    "table of columns": lambda values: pardata.Table([0], {"a": values.reshape(1, -1)}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", [MASKED, np.arange(2.0).view(Metres)], ids=["mask", "unit"])
def test_every_way_into_shared_memory_asks(way, given):
    with pytest.raises(pardata.LossError, match="a masked array|the unit m"):
        WAYS[way](given)


@pytest.mark.parametrize("given", [MASKED, np.arange(2.0).view(Metres)], ids=["mask", "unit"])
def test_every_way_into_a_file_asks(given, tmp_path):
    path = tmp_path / "made"
    for write in (
        lambda: pardata.Database.create(path, [1], given.reshape(1, -1)),
        lambda: pardata.source([given]).to(f"{path}.npy").run(engine="serial"),
        lambda: pardata.files.write_pieces(given, path),
    ):
        with pytest.raises(pardata.LossError, match="a masked array|the unit m"):
            write()
    with (
        pytest.raises(pardata.LossError, match="a masked array|the unit m"),
        pardata.PagedFile.create(path) as writer,
    ):
        writer.extend(given)
    assert not list(tmp_path.iterdir())


def test_a_list_of_what_means_more_is_kept_as_objects():
    kept = pardata.Table([1, 2], [MASKED, np.arange(2.0)])[1]
    assert kept.mask.tolist() == [False, True]
    units = pytest.importorskip("astropy.units")
    assert pardata.Table([1, 2], [1 * units.m, 2 * units.m])[2] == 2 * units.m


@pytest.mark.parametrize("name", ["map_array", "foreach_array", "reduce_array"])
@pytest.mark.parametrize("given", [MASKED, np.arange(2.0).view(Metres)], ids=["mask", "unit"])
def test_a_pool_refuses_before_the_function_is_called(name, given):
    called = []
    with pardata.WorkerPool(1, kind="thread") as pool, pytest.raises(pardata.LossError, match=f"^{name} got"):
        getattr(pool, name)(called.append, given, *([max] if name == "reduce_array" else []))
    assert not called


def test_a_result_and_an_output_that_mean_more_are_refused():
    with pardata.WorkerPool(1, kind="thread") as pool:
        with pytest.raises(pardata.LossError, match="^the function returned values with the unit m"):
            pool.map_array(lambda rows: rows.view(Metres), np.arange(3.0))
        with pytest.raises(pardata.LossError, match="^the function returned"):
            pool.map_array(lambda rows: rows.view(Metres), np.arange(0.0))
        with pytest.raises(pardata.LossError, match="^out is"):
            pool.map_array(abs, np.arange(2.0), out=np.arange(2.0).view(Metres))
