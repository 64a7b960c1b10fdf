"""Columns of other libraries come exactly as they are, with None, NaN or NaT for what is missing."""

import datetime
import decimal
import math

import numpy as np
import pytest

import pardata
from pardata.memory.foreign import read_column
from pardata.memory.plain import plain_array

ODD = 2**53 + 1  # no float64
HUGE = 2**64 - 1
UTC = datetime.UTC
DAY = datetime.datetime(2020, 1, 1)


def pandas_columns():
    pd = pytest.importorskip("pandas")
    series = pd.Series
    numbers = pd.CategoricalDtype([ODD, 3])
    yield series([ODD, None], dtype="Int64"), [ODD, None]
    yield series([ODD, 1], dtype="Int64"), [ODD, 1]
    yield pd.Index([ODD, None], dtype="Int64"), [ODD, None]
    yield pd.array([ODD, None]), [ODD, None]
    yield series([HUGE, None], dtype="UInt64"), [HUGE, None]
    yield series([1, None], dtype="Int8"), [1, None]
    yield series([True, None], dtype="boolean"), [True, None]
    yield series([1.5, None], dtype="Float64"), [1.5, math.nan]
    yield series(["a", None], dtype="string"), ["a", None]
    yield series(["a", "b"], dtype="string"), ["a", "b"]
    yield series([ODD, None], dtype=numbers), [ODD, None]
    yield series([3, ODD], dtype=numbers), [3, ODD]
    yield pd.CategoricalIndex([ODD, None], dtype=numbers), [ODD, None]
    yield pd.Categorical([None, None], dtype=numbers), [None, None]
    yield pd.Categorical(series([ODD, None], dtype="Int64")), [ODD, None]
    yield series(["a", None, "b"]).astype("category"), ["a", None, "b"]
    yield series([1.5, None]).astype("category"), [1.5, math.nan]
    yield series(pd.arrays.SparseArray([ODD, 0])), [ODD, 0]
    yield series([1, None, 2.5], dtype=object), [1, None, 2.5]
    yield series([ODD, 2.5], dtype=object), [ODD, 2.5]
    yield series([DAY, None], dtype="datetime64[us]"), [DAY, None]


def pandas_columns_over_arrow():
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    made = [
        ([ODD, None], pa.int64(), [ODD, None]),
        ([HUGE, None], pa.uint64(), [HUGE, None]),
        ([True, None], pa.bool_(), [True, None]),
        ([1.5, None], pa.float64(), [1.5, math.nan]),
        (["a", None], pa.string(), ["a", None]),
        ([decimal.Decimal("1.10"), None], pa.decimal128(38, 2), [decimal.Decimal("1.10"), None]),
        (["a", None], pa.dictionary(pa.int32(), pa.string()), ["a", None]),
        ([[ODD, None], None], pa.list_(pa.int64()), [[ODD, None], None]),
    ]
    for values, kind, wanted in made:
        yield pd.Series(values, dtype=pd.ArrowDtype(kind)), wanted
        yield pd.Index(values, dtype=pd.ArrowDtype(kind)), wanted


def polars_columns():
    pl = pytest.importorskip("polars")
    yield pl.Series([ODD, None]), [ODD, None]
    yield pl.Series([ODD, 1]), [ODD, 1]
    yield pl.Series([HUGE, None], dtype=pl.UInt64), [HUGE, None]
    yield pl.Series([2**100, None], dtype=pl.Int128), [2**100, None]
    yield pl.Series([True, None]), [True, None]
    yield pl.Series([1.5, None]), [1.5, math.nan]
    yield pl.Series(["a", None]), ["a", None]
    yield pl.Series(["a", None], dtype=pl.Categorical), ["a", None]
    yield pl.Series([b"a", None]), [b"a", None]
    yield pl.Series([decimal.Decimal("1.10"), None]), [decimal.Decimal("1.10"), None]
    yield pl.Series([None, None]), [None, None]
    yield pl.Series([[ODD, None], None]), [[ODD, None], None]
    yield pl.Series([[ODD, None], [3, 4]], dtype=pl.Array(pl.Int64, 2)), [[ODD, None], [3, 4]]
    yield pl.Series([[ODD, 1], [3, 4]], dtype=pl.Array(pl.Int64, 2)), [[ODD, 1], [3, 4]]
    yield pl.Series([{"a": ODD, "b": 1.5}]), [{"a": ODD, "b": 1.5}]
    yield pl.Series([DAY, None]), [DAY, None]
    yield pl.Series([DAY.replace(tzinfo=UTC), None]), [DAY.replace(tzinfo=UTC), None]


def arrow_columns():
    pa = pytest.importorskip("pyarrow")
    yield pa.array([ODD, None]), [ODD, None]
    yield pa.chunked_array([[ODD], [None]]), [ODD, None]
    yield pa.array([HUGE, None], pa.uint64()), [HUGE, None]
    yield pa.array([True, None]), [True, None]
    yield pa.array([True, False]), [True, False]
    yield pa.array([1.5, None]), [1.5, math.nan]
    yield pa.array(["a", None]), ["a", None]
    yield pa.array([ODD, None]).dictionary_encode(), [ODD, None]
    yield pa.chunked_array([pa.array([ODD, None]).dictionary_encode()]), [ODD, None]
    yield pa.array([decimal.Decimal(10**25), None], pa.decimal128(38, 0)), [decimal.Decimal(10**25), None]
    yield pa.array([[ODD, None], None]), [[ODD, None], None]
    yield pa.array([DAY, None], pa.timestamp("us")), [DAY, None]
    yield pa.array([DAY, None], pa.timestamp("us", "UTC")), [DAY.replace(tzinfo=UTC), None]


def is_same(values, wanted):
    if isinstance(wanted, list):
        return len(values) == len(wanted) and all(map(is_same, values, wanted))
    return type(values) is type(wanted) and (values == wanted or (values != values and wanted != wanted))


@pytest.mark.parametrize("columns", [pandas_columns, pandas_columns_over_arrow, polars_columns, arrow_columns])
def test_a_column_is_read_exactly(columns):
    for column, wanted in columns():
        read = read_column(column)
        assert is_same(read.as_list(), wanted), (column, read)
        assert read.missing is None or None in wanted


@pytest.mark.parametrize("columns", [pandas_columns, pandas_columns_over_arrow, polars_columns, arrow_columns])
def test_an_array_of_a_column_is_exact_or_refused(columns):
    for column, wanted in columns():
        try:
            made = plain_array(column, "f got")
        except TypeError as error:
            assert None in wanted and "fillna" in str(error)
        else:
            assert made.dtype.hasobject or is_same(made.tolist(), wanted), column


def test_a_time_zone_with_nanoseconds_is_refused():
    pl = pytest.importorskip("polars")
    column = pl.Series([DAY.replace(tzinfo=UTC)]).dt.cast_time_unit("ns")
    with pytest.raises(pardata.LossError, match="time zone"):
        read_column(column)


def test_tables_whose_columns_have_no_common_dtype_are_refused():
    pd = pytest.importorskip("pandas")
    assert plain_array(pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}), "f got").tolist() == [[1, 0.5], [2, 1.5]]
    assert plain_array(pd.DataFrame({"a": [ODD], "b": [1]}), "f got").tolist() == [[ODD, 1]]
    for frame in (
        pd.DataFrame({"a": [ODD], "b": [1.5]}),
        pd.DataFrame({"a": pd.array([ODD, None]), "b": [1, 2]}),
        pytest.importorskip("polars").DataFrame({"a": [ODD], "b": [1.5]}),
        pytest.importorskip("pyarrow").table({"a": [ODD], "b": [1.5]}),
        pytest.importorskip("pyarrow").table({"a": [1, None]}),
    ):
        with pytest.raises(TypeError, match="would be rounded|with missing values"):
            plain_array(frame, "f got")


def test_pools_and_shared_memory_ask_as_well():
    pd = pytest.importorskip("pandas")
    column = pd.Series([ODD, None], dtype="Int64")
    with pytest.raises(TypeError, match=r"pardata.array got a column of Int64 with missing values"):
        pardata.array(column)
    with (
        pardata.WorkerPool(1, kind="thread") as pool,
        pytest.raises(TypeError, match="map_array got a column of Int64"),
    ):
        pool.map_array(np.abs, column)
    assert pardata.array(column.dropna())[0] == ODD
