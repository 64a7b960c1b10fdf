"""Tables as sources: a loop over one gives its columns, so they are refused, with the way to their rows."""

import importlib

import pytest

import pardata


class Dataset:
    """As that of xarray, over which a loop gives the names of its variables."""

    @property
    def data_vars(self):
        return {}

    def __iter__(self):
        return iter(["a"])


TABLES = {
    "pandas": (lambda m: m.DataFrame({"a": [1, 2]}), r"DataFrame .*table\.itertuples\(\)"),
    "polars": (lambda m: m.DataFrame({"a": [1, 2]}), r"DataFrame .*table\.iter_rows\(named=True\)"),
    "polars, lazy": (lambda m: m.LazyFrame({"a": [1, 2]}), r"LazyFrame .*table\.collect\(\)\.iter_rows"),
    "pyarrow": (lambda m: m.table({"a": [1, 2]}), r"Table .*table\.to_pylist\(\), or table\.to_batches\(\)"),
    "pyarrow, a batch": (lambda m: m.record_batch({"a": [1, 2]}), r"RecordBatch .*table\.to_pylist\(\)$"),
    "duckdb": (lambda m: m.sql("SELECT 1 AS a"), r"DuckDBPyRelation .*table\.to_arrow_reader\(10_000\)"),
    "builtins": (lambda m: Dataset(), r"Dataset .*dataset\[\"name\"\]\.values.*dataset\.isel"),
}


@pytest.mark.parametrize("name", TABLES)
def test_table_is_refused_with_the_way_to_its_rows(name):
    make, message = TABLES[name]
    try:
        table = make(importlib.import_module(name.split(",")[0]))
    except ImportError:
        pytest.skip(f"{name} is not here")
    with pytest.raises(pardata.ConfigError, match=r"a loop over a .* gives its columns, not its rows; use") as caught:
        pardata.source(table)
    assert caught.match(message)


def test_a_dataset_of_xarray_is_refused_with_the_names_of_its_variables():
    xarray = pytest.importorskip("xarray")
    with pytest.raises(pardata.ConfigError, match=r"a Dataset has variables, \['a'\]: give one of them"):
        pardata.source(xarray.Dataset({"a": ("x", [1, 2])}))


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_column_is_a_source(name):
    module = pytest.importorskip(name)
    column = module.array([1, 2]) if name == "pyarrow" else module.Series([1, 2])
    pardata.source(column)
