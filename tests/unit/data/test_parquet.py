"""Tables in Parquet files: workers read row groups, a sink writes what is a table; what cannot be is told."""

import os
import pickle
import shutil
import weakref

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array, in_files, new_output

pa = pytest.importorskip("pyarrow")
ds = pytest.importorskip("pyarrow.dataset")
pq = pytest.importorskip("pyarrow.parquet")

GROUP = 30  # rows
ROWS = 100
TABLE = pa.table(
    {
        "number": pa.array([None if row == 2 else 2**53 + row for row in range(ROWS)]),
        "text": pa.array([f"text {row}" for row in range(ROWS)]).dictionary_encode(),
        "time": pa.array(np.arange(ROWS).astype("M8[ms]")),
    }
)


@pytest.fixture
def path(tmp_path):
    """A file with four row groups."""
    pq.write_table(TABLE, tmp_path / "a.parquet", row_group_size=GROUP)
    return tmp_path / "a.parquet"


def parts(stream, engine="serial"):
    return list(stream.iterate(engine=engine))


def test_row_groups_and_parts_of_them(path, monkeypatch):
    for options in ({}, {"by": "chunk"}, {"by": GROUP}, {"by": 1000}, {"workers": 2}):
        found = parts(pardata.source(path, **options))
        assert [table.num_rows for table in found] == [30, 30, 30, 10]
        assert pa.concat_tables(found).equals(TABLE)
    for workers in (1, 2):
        found = parts(pardata.source(path, by=20, workers=workers), "threads")
        assert [table.num_rows for table in found] == [20, 10, 20, 10, 20, 10, 10]
        assert pa.concat_tables(found).equals(TABLE)
    stream = pardata.zip(pardata.source(path, by=20, workers=2), pardata.source(range(6)), by="position")
    with pytest.raises(pardata.PlanError, match=r" 7, 'source' 6"):
        stream.run(engine="serial")


def test_workers_read_and_one_thread_writes(path, tmp_path):
    pardata.source(path, by=7, workers=2).to(tmp_path / "b.parquet", compression="zstd").run()
    file = pq.ParquetFile(tmp_path / "b.parquet")
    assert file.read().equals(TABLE) and file.num_row_groups == 1  # small tables are put together
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    file.close()


def test_large_tables_become_row_groups(tmp_path):
    large = pa.table({"a": np.arange(3 << 20)})
    pardata.source([large, large, large[:5]]).to(tmp_path / "a.parquet").run(engine="threads")
    with pq.ParquetFile(tmp_path / "a.parquet") as file:
        assert [file.metadata.row_group(number).num_rows for number in range(2)] == [3 << 20, (3 << 20)]
        assert file.num_row_groups == 3


def test_each_small_table_is_measured_once(tmp_path, monkeypatch):
    measured = []

    class Small:
        schema, num_rows = TABLE.schema, 1
        nbytes = property(lambda self: measured.append(self) or 1)

        def replace_schema_metadata(self, metadata):
            return self

    monkeypatch.setattr("pardata.data.parquet._as_table", lambda rows, path: rows)
    made = new_output(tmp_path / "a.parquet")
    for _ in range(20):
        made.add(Small())
    made.discard()
    assert len(measured) == 20 and os.listdir(tmp_path) == []


def test_rows_that_wait_for_more_hold_no_memory_of_others(tmp_path):
    """They are shared memory, for which the stages in front may wait."""
    new = new_output(tmp_path / "new.parquet")
    column = np.arange(5000.0)
    held = weakref.ref(column)
    new.add({"a": column})
    del column
    assert held() is None
    new.add({"a": np.arange(3.0)})
    new.commit()
    written = pq.read_table(tmp_path / "new.parquet")
    assert written["a"].to_pylist() == [*range(5000), 0, 1, 2]


def test_tables_of_other_libraries_are_written(tmp_path):
    made = [{"a": np.arange(3), "b": ["x", "y", "z"]}, pa.record_batch({"a": [3], "b": ["w"]})]
    pardata.source(made).to(tmp_path / "a.parquet").run(engine="serial")
    assert pq.read_table(tmp_path / "a.parquet").to_pydict() == {"a": [0, 1, 2, 3], "b": list("xyzw")}
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    frame = pd.DataFrame({"a": [1.5, None], "b": pd.Categorical(["x", "y"])}, index=pd.Index([7, 8], name="at"))
    pardata.source([frame, frame]).to(tmp_path / "b.parquet").run(engine="serial")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "b.parquet"), pd.concat([frame, frame]))
    indices = (range(3), [0, 2], [1, 2])  # of rows that are left, a range of numbers by chance or not
    filtered = [pd.DataFrame({"a": [1.5] * len(index)}, index=index) for index in indices]
    pardata.source(filtered).to(tmp_path / "d.parquet").run(engine="serial")
    assert pq.read_table(tmp_path / "d.parquet").to_pydict() == {"a": [1.5] * 7}
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"]})
    pardata.source([frame, frame]).to(tmp_path / "c.parquet").run(engine="serial")
    assert pl.read_parquet(tmp_path / "c.parquet").equals(pl.concat([frame, frame]))


def test_a_new_table_appears_whole_or_not_at_all(tmp_path):
    def stream(items, **options):
        return pardata.source(items).to(tmp_path / "a.parquet", **options)

    for wrong, message in (
        ([{"a": [1]}, {"a": [1.5]}], r"row 1 of .* has the columns a \(double\), and the first row a \(int64\)"),
        ([{"a": [1]}, np.zeros(3)], "takes tables, .* and was given a ndarray"),
        ([[{"a": 1}]], r"a.parquet takes tables, as a dict of arrays .*, and was given a list"),
        ([{"a": 1}], r"a.parquet takes tables, as a dict of arrays \(\{name: \[1, 2\]\}\), and was given a dict"),
    ):
        with pytest.raises(ValueError, match=message):
            stream(wrong).run(engine="serial")
        assert os.listdir(tmp_path) == []
    with pytest.raises(pardata.ConfigError, match="compression='none such'"):
        stream([], compression="none such")
    with pytest.raises(pardata.ConfigError, match="has no key"):
        stream([], key="x")
    with pytest.raises(pardata.ConfigError, match="out must be an array or the path"):
        pardata.map_array(np.sqrt, np.ones(3), out=tmp_path / "a.parquet")
    stream([]).run(engine="serial")
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0
    with pytest.raises(pardata.ConfigError, match="is there already, and no rows are added"):
        stream([]).run(engine="serial")
    pardata.shutdown()


def test_folders_columns_and_working_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keyed = TABLE.append_column("key", pa.array(np.arange(ROWS) % 3))
    parting = ds.partitioning(pa.schema([("key", pa.int64())]), flavor="hive")
    ds.write_dataset(keyed, "all.parquet", format="parquet", partitioning=parting)
    found = pa.concat_tables(parts(pardata.source("all.parquet")))
    assert sorted(found["key"].to_pylist()) == sorted(keyed["key"].to_pylist())
    pq.write_table(TABLE, "a.parquet")
    one = ds.dataset("a.parquet")
    sent = pickle.dumps(in_files(one.replace_schema(pa.schema([one.schema.field("time")]))))
    monkeypatch.chdir("/")
    table = pickle.loads(sent).read(0)
    assert table.column_names == ["time"] and table["time"].equals(TABLE["time"])


def test_what_cannot_be_opened_again_is_told(path, tmp_path):
    dataset = pardata.open(path)
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pq.ParquetFile(path) as file:
        for wrong, message in (
            (file, "does not tell its path"),
            (dataset.filter(ds.field("number") > 3), "does not tell its filter"),
            (ds.dataset(TABLE), "has its rows in memory"),
            (ds.dataset(tmp_path / "a.csv", format="csv"), "is none of Parquet files"),
            (next(dataset.get_fragments()), "is part of a dataset"),
        ):
            with pytest.raises(pardata.ConfigError, match=message):
                pardata.source(wrong)
    with pytest.raises(pardata.ConfigError, match="is a table and no array"):
        file_array(dataset)
    with pytest.raises(pardata.ConfigError, match="taken apart along its rows"):
        pardata.source(path, axis=1)
    for wrong in ("none.parquet", "a.csv"):
        shutil.copy(tmp_path / "a.csv", tmp_path / "b.parquet")
        with pytest.raises(pardata.ConfigError, match=r"open\(.*parquet"):
            pardata.open(tmp_path / ("b.parquet" if wrong == "a.csv" else wrong))
    with pytest.raises(pardata.ConfigError, match="of which all columns are read"):
        pardata.open(path, key="number")


def test_a_file_that_is_gone_or_another_one_is_an_error(path):
    table = in_files(pardata.open(path))
    for group_rows in (GROUP, 50):
        path.unlink()
        pq.write_table(TABLE, path, row_group_size=group_rows, compression="none")
        for group in (0, 3):
            with pytest.raises(pardata.StaleBlockError, match="was replaced or resized meanwhile"):
                table.read(group)
    table._marks = [None]  # as of a file elsewhere
    for group in (0, 3):
        with pytest.raises(pardata.StaleBlockError, match="was replaced meanwhile"):
            table.read(group)
    path.unlink()
    with pytest.raises(pardata.BrokenError, match="cannot be opened again"):
        table.read(0)


def test_files_of_other_types_and_in_memory_are_told(tmp_path):
    for name, values in ("1.parquet", [1]), ("2.parquet", [1.5]):
        pq.write_table(pa.table({"a": values}), tmp_path / name)
    with pytest.raises(pardata.BrokenError, match=r"2\.parquet cannot be read by the schema of its dataset: .*1\.5"):
        parts(pardata.source(ds.dataset(tmp_path)))
    memory = pytest.importorskip("fsspec").filesystem("memory")
    with memory.open("/a.parquet", "wb") as file:
        pq.write_table(TABLE, file)
    table = in_files(ds.dataset("a.parquet", filesystem=memory))
    assert table.read(0).equals(TABLE)
    with pytest.raises(pardata.ConfigError, match="cannot be opened by worker processes: it is in the memory"):
        pickle.dumps(table)
