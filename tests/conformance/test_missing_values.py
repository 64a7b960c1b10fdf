"""Integers with missing values, of any library: as keys and as values of every look-up, exact at every size."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import pardata
from pardata.lookup.base import joined
from tests.conformance.test_lookups import make, same  # noqa: F401

IDS = np.array([4295806720, 2**53, 2**53 + 1, 2**53 + 2])
NAMES = ["first", "even", "ODD", "next"]
ODD = 2**53 + 1


def pandas_column(values, kind="Int64"):
    return pytest.importorskip("pandas").Series(values, dtype=kind)


def arrow_column(values):
    pa = pytest.importorskip("pyarrow")
    return pytest.importorskip("pandas").Series(values, dtype=pytest.importorskip("pandas").ArrowDtype(pa.int64()))


def categories(values):
    pd = pytest.importorskip("pandas")
    return pd.Series(values, dtype=pd.CategoricalDtype([value for value in dict.fromkeys(values) if value is not None]))


COLUMNS = {
    "pandas Int64": pandas_column,
    "pandas int64[pyarrow]": arrow_column,
    "pandas index": lambda values: pytest.importorskip("pandas").Index(values, dtype="Int64"),
    "pandas category": categories,
    "polars": lambda values: pytest.importorskip("polars").Series(values),
    "pyarrow": lambda values: pytest.importorskip("pyarrow").array(values),
    "chunked pyarrow": lambda values: pytest.importorskip("pyarrow").chunked_array([values[:1], values[1:]], "int64"),
    "list": list,
    "objects": lambda values: np.array(values, object),
    "masked": lambda values: np.ma.masked_array(
        [value or 0 for value in values], [value is None for value in values], np.int64
    ),
}


@pytest.mark.parametrize("column", COLUMNS)
def test_keys_with_missing_ones_find_their_own_rows(make, column):  # noqa: F811
    known = make(IDS, NAMES)
    for wanted in ([ODD, None], [ODD, 2**53], [None, 4295806720, ODD], [2**53 + 3, None]):
        found = known.get_many(COLUMNS[column](wanted), default="?")
        rows = dict(zip(IDS.tolist(), NAMES, strict=True))
        assert found.tolist() == [rows.get(key, "?") for key in wanted]


@pytest.mark.parametrize("kind", ["integers", "floats"])
@pytest.mark.parametrize(
    "key",
    [1, 1.0, True, np.int8(1), np.uint64(1), np.float32(1), np.float64(1), np.longdouble(1), -0.0, 0, np.float16(0)],
    ids=lambda key: f"{type(key).__name__}({key})",
)
def test_a_key_is_found_whatever_type_of_number_says_it(make, kind, key):  # noqa: F811
    known = make(np.array([0, 1, ODD - 1]) if kind == "integers" else np.array([0.0, 1.0, ODD - 1]), [10, 11, 12])
    assert known[key] == 10 + int(key) and key in known
    assert known.get_many([key, 2**53]).tolist() == [10 + int(key), 12]
    assert known.get_many(np.array([key])).tolist() == [10 + int(key)]
    assert known.get_many([ODD, float("nan"), 2**64 - 1, np.uint64(2**63 + 1)], default=-1).tolist() == [-1] * 4


def test_decimals_and_fractions_are_keys_in_what_is_in_this_process(tmp_path):
    lookups = pardata.Table([1.0, 2.5], [3, 4]), pardata.Database.create(tmp_path / "a.db", np.array([1, 2.5]), [3, 4])
    for known in lookups:
        asked = [Decimal(1), Fraction(5, 2), Decimal("0.1"), Decimal("nan"), Decimal("inf"), Fraction(10**400)]
        assert [known.get(key) for key in asked] == [3, 4, None, None, None, None]
        assert known.get_many(asked, default=0).tolist() == [3, 4, 0, 0, 0, 0]


def test_keys_that_are_missing_are_refused(make):  # noqa: F811
    for column in ("pandas Int64", "polars", "pyarrow", "masked"):
        with pytest.raises(pardata.ConfigError, match="key 1 is missing"):
            make(COLUMNS[column]([ODD, None]), [1, 2])


@pytest.mark.parametrize("column", COLUMNS)
def test_integers_with_missing_values_are_kept(make, column):  # noqa: F811
    values = [ODD, None, 2**63 - 1, -1]
    known = make([0, 1, 2, 3], {"id": COLUMNS[column](values), "x": np.arange(4.0)})
    assert [known[key]["id"] for key in range(4)] == values
    assert all(type(known[key]["id"]) is int for key in (0, 2, 3))
    assert known.get_many([1, 0])["id"].tolist() == [None, ODD]
    assert known.range(0, 3)[1]["id"].tolist() == values[:3]
    if column not in ("list", "objects"):
        assert same(known.get_many([0, 3])["id"], np.array([ODD, -1]))
    assert [row["id"] for row in known.values()] == values


def test_booleans_with_missing_values_are_kept(make):  # noqa: F811
    masked = np.ma.masked_array([True, True, False], [0, 1, 0])
    for column in (pandas_column([True, None, False], "boolean"), COLUMNS["polars"]([True, None, False]), masked):
        known = make([0, 1, 2], column)
        assert [known[key] for key in range(3)] == [True, None, False]
        assert same(known.get_many([0, 2]), np.array([True, False]))
        assert known.get_many([0, 1]).tolist() == [True, None]
        assert known.get_many([1, 2], default=7).tolist() == [None, False]


def test_floats_times_and_texts_keep_what_is_missing(make):  # noqa: F811
    for floats in (pandas_column([1.5, None], "Float64"), np.ma.masked_array([1.5, 9.97e36], [0, 1])):
        known = make([0, 1], floats)
        assert known[0] == 1.5 and np.isnan(known[1])
    times = np.array(["2020-01-01", "2021-01-01"], "M8[ns]")
    for column in (pandas_column(["2020-01-01", None], "datetime64[ns]"), np.ma.masked_array(times, [0, 1])):
        known = make([0, 1], column)
        assert known[0] == times[0] and np.isnat(known[1])
    masked = make([0, 1], np.ma.masked_array(["a", "b"], [0, 1]))
    assert [masked[0], masked[1]] == ["a", None]
    for kind in ("string", "str", "category"):
        texts = make([0, 1], pandas_column(["a", None], kind))
        assert [texts[0], texts[1]] == ["a", None]


def test_masks_of_rows_that_are_arrays_and_units_are_refused(make):  # noqa: F811
    with pytest.raises(pardata.LossError, match="mask would be lost"):
        make([0, 1], np.ma.masked_array([[1, 2], [3, 4]], [[0, 1], [0, 0]]))
    with pytest.raises(pardata.LossError, match="mask would be lost"):
        make([0, 1], np.ma.masked_array([(1, 2), (3, 4)], [(0, 1), (0, 0)], dtype=[("a", int), ("b", int)]))
    units = pytest.importorskip("astropy.units")
    for column in ([1.0, 2.0] * units.m, np.ma.masked_array([1.0, 2.0] * units.m, [0, 1])):
        with pytest.raises(pardata.LossError, match="unit m|mask would be lost"):
            make([0, 1], column)


def test_a_table_of_columns_as_values_keeps_each_column(make):  # noqa: F811
    for library in ("pandas", "polars"):
        frame = pytest.importorskip(library).DataFrame({"id": [ODD, 1], "x": [0.5, 1.5]})
        assert make([0, 1], frame)[0] == {"id": ODD, "x": 0.5}


def test_integers_past_63_bits(tmp_path):
    for column in (
        pandas_column([2**64 - 1, None], "UInt64"),
        pytest.importorskip("polars").Series([2**64 - 1, None], dtype=pytest.importorskip("polars").UInt64),
    ):
        known = pardata.Table([0, 1], column)
        assert [known[0], known[1]] == [2**64 - 1, None]
        with pytest.raises(pardata.ConfigError, match="64 bits"):
            pardata.Database.create(tmp_path / "a.db", [0, 1], column)
    wide = pytest.importorskip("polars").Series([2**100, 1], dtype=pytest.importorskip("polars").Int128)
    assert pardata.Table([0, 1], wide)[0] == 2**100
    assert pardata.Table([0, 1], [10, 11]).get_many(wide, default=-1).tolist() == [-1, 11]


def test_data_frames_of_each_library_by_their_key(tmp_path):
    columns = {"key": [ODD, 1], "x": [0.5, 1.5]}
    frames = [pytest.importorskip(library).DataFrame(columns) for library in ("pandas", "polars")]
    for frame in [*frames, pytest.importorskip("pyarrow").table(columns)]:
        assert pardata.Table(frame, key="key")[ODD] == {"x": 0.5}
        assert pardata.Database.create(tmp_path / "a.db", frame, key="key")[ODD] == {"x": 0.5}


def test_parts_of_a_column_are_joined_exactly():
    assert joined([np.array([1, 2]), np.array([3])]).dtype == np.int64
    assert joined([np.array([ODD]), np.array([0.5, np.nan])]).tolist()[:2] == [ODD, 0.5]
    assert joined([np.array([ODD]), np.array([None], object)]).tolist() == [ODD, None]


def test_a_writer_keeps_them_too_and_refuses_what_it_would_convert(tmp_path):
    pd = pytest.importorskip("pandas")
    path = tmp_path / "a.db"
    with pardata.Writer(path, ["key", "id"], key="key") as writer:
        writer.put({"key": [0, 1], "id": pandas_column([ODD, None])})
        writer.put({"key": [2, 3], "id": pytest.importorskip("polars").Series([None, ODD])})
        writer.put([{"key": 4, "id": pd.NA}, {"key": np.int64(5), "id": np.int64(ODD)}])
        writer.put(pd.DataFrame({"key": [6, 7], "id": pandas_column([True, None], "boolean")}))
        writer.put({"key": [8], "id": np.ma.masked_array([1], [True])})
        writer.put({"key": [9, 10], "id": np.ma.masked_array([9.97e36, 0.5], [1, 0])})
        for wrong in (
            pd.Series(["2020-01-01"], dtype="datetime64[ns]"),
            np.array(["2020-01-01"], "M8[D]"),
            pd.Series(["2020-01-01"], dtype="datetime64[us]").tolist(),
        ):
            with pytest.raises(pardata.ConfigError, match="keeps"):
                writer.put({"key": [11], "id": wrong})
    known = pardata.Database(path)
    assert [row["id"] for row in known.values()] == [ODD, None, None, ODD, None, ODD, 1, None, None, None, 0.5]


def test_a_database_refuses_what_it_would_convert(tmp_path):
    import datetime

    for value in (datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), 1 + 2j, np.datetime64("2020-01-01", "ns")):
        with pytest.raises(pardata.ConfigError, match="keeps numbers"):
            pardata.Database.create(tmp_path / "a.db", [1, 2], [value, "text"])
        with pytest.raises(pardata.ConfigError, match="keeps numbers"):
            pardata.Database.create(tmp_path / "a.db", [{"a": 1, "b": value}], key="a")


def test_a_boolean_that_becomes_nothing_is_not_false(tmp_path):
    path = tmp_path / "a.db"
    pardata.Database.create(path, [0, 1], {"a": np.array([True, False])})
    with pardata.Writer(path, ["key", "a"], key="key") as writer:
        writer.put([(0, None)])
    known = pardata.Database(path)
    assert known[0]["a"] is None and known.get_many([0, 1])["a"].tolist() == [None, False]
