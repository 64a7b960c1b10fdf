"""The features of a database alone: files of all kinds, SQL, pieces of a query, freezing."""

import datetime
import errno
import gc
import os
import pickle
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas
import pytest

import pardata
from pardata.lookup.loading import leftovers
from pardata.lookup.statements import Statements
from pardata.memory.locking import HolderLock

COLUMNS = ["id", "name", "x"]
ROWS = [(3, "c", 0.5), (1, "a", None), (2, "b", 2.0)]


@pytest.fixture
def existing(tmp_path):
    """The path of a database that something else has made."""
    path = tmp_path / "it's 100% #1?.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE places (id INTEGER PRIMARY KEY, name TEXT UNIQUE, x REAL)")
    connection.executemany("INSERT INTO places VALUES (?, ?, ?)", ROWS)
    connection.commit()
    connection.close()
    return path


@pytest.mark.parametrize("frozen", [False, True])
def test_an_existing_file(existing, frozen):
    with pardata.Database(existing, frozen=frozen) as database:
        assert database[3] == {"name": "c", "x": 0.5}
        assert database[1] == {"name": "a", "x": None}
        assert list(database) == [1, 2, 3]
        many = database.get_many([3, 1])
        assert many["name"].tolist() == ["c", "a"]
        np.testing.assert_array_equal(many["x"], [0.5, np.nan])
    with pardata.Database(existing, "places", "name") as database:
        assert database["b"] == {"id": 2, "x": 2.0}
        assert database.range("b")[0].tolist() == ["b", "c"]


def test_what_is_not_frozen_is_read_as_it_is_now(existing):
    with pardata.Database(existing) as database:
        before = database.version
        connection = sqlite3.connect(existing)
        connection.execute("UPDATE places SET x = 7 WHERE id = 1")
        connection.commit()
        connection.close()
        assert database[1]["x"] == 7
        assert database.version != before
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            database.query("DELETE FROM places")


def test_rows_of_every_kind(tmp_path):
    (tmp_path / "table.csv").write_text("name,id,x\nc,3,0.5\na,1,\nb,2,2\n")
    frame = pandas.DataFrame(ROWS, columns=COLUMNS)
    kinds = {
        "sequences": (iter(ROWS), {"columns": COLUMNS}),
        "dicts": ((dict(zip(COLUMNS, row, strict=True)) for row in ROWS), {}),
        "csv": (tmp_path / "table.csv", {}),
        "columns": (dict(zip(COLUMNS, zip(*ROWS, strict=True), strict=True)), {}),
        "frame": (frame, {}),
    }
    for name, (data, options) in kinds.items():
        with pardata.Database.create(tmp_path / f"{name}.db", data, key="id", **options) as database:
            assert len(database) == 3, name
            assert database[3] == {"name": "c", "x": 0.5}, name
            assert database.get_many([2, 1])["name"].tolist() == ["b", "a"], name
            np.testing.assert_array_equal(database.get_many([2, 1])["x"], [2.0, np.nan])
    with pardata.Database.create(tmp_path / "dict.db", {"a": 1.5, "b": 2.5}) as database:
        assert dict(database) == {"a": 1.5, "b": 2.5}


def test_a_csv_cell_is_a_number_only_if_the_whole_column_is(tmp_path):
    (tmp_path / "a.csv").write_text("id,zip,n\n1,00501,1\n2,10001,\n")
    with pardata.Database.create(tmp_path / "a.db", str(tmp_path / "a.csv"), key="id") as database:
        assert database[1] == {"zip": "00501", "n": 1}
        assert database[2] == {"zip": "10001", "n": None}


def test_query_returns_arrays(existing):
    with pardata.Database(existing) as database:
        found = database.query("SELECT id, x, name FROM places WHERE id >= ? ORDER BY id", [2])
        assert found["id"].dtype == np.int64 and found["x"].dtype == np.float64 and found["name"].dtype == object
        assert found["x"].tolist() == [2.0, 0.5]
        assert database.query("SELECT max(id) AS m FROM places WHERE name < :n", {"n": "c"})["m"].tolist() == [2]
        assert database.query("SELECT id FROM places WHERE 0")["id"].shape == (0,)
        with pytest.raises(pardata.ConfigError, match="same name"):
            database.query("SELECT id, id FROM places")
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            database.query("SELECT * FROM elsewhere")


@pytest.mark.parametrize("rows", [1, 3, 10, 10_000])
def test_map_rows_covers_every_row_once_in_order(tmp_path, rows):
    keys = np.random.default_rng(0).permutation(100) ** 2
    data = {"id": keys, "group": keys % 7, "v": keys / 2}
    with (
        pardata.Database.create(tmp_path / "a.db", data, key="id") as database,
        ThreadPoolExecutor(2) as pool,
    ):
        for parameters in ((10,), {"low": 10}):
            mark = "?" if isinstance(parameters, tuple) else ":low"
            sql = f"SELECT id, v FROM data WHERE id >= {mark}"
            parts = list(database.map_rows(lambda part: part["id"], sql, parameters, pool=pool, rows=rows))
            assert np.concatenate(parts).tolist() == sorted(keys[keys >= 10])
            assert len(parts) == -(-np.sum(keys >= 10) // rows)
        parts = database.map_rows(len_of_group, "SELECT * FROM data", pool=pool, key="group", rows=rows)
        assert sum(parts) == 100
        assert list(database.map_rows(len, "SELECT * FROM data WHERE 0", pool=pool)) == []
        with pytest.raises(pardata.ConfigError, match="NULL"):
            database.map_rows(len, "SELECT NULL AS id FROM data", pool=pool)
        with pytest.raises(pardata.ConfigError, match="rows must be"):
            database.map_rows(len, "SELECT * FROM data", pool=pool, rows=0)


def len_of_group(part):
    return len(part["group"])


def test_every_thread_has_its_own_connection(existing):
    with pardata.Database(existing, frozen=True) as database, ThreadPoolExecutor(4) as pool:
        assert [row["name"] for row in pool.map(database.__getitem__, [1, 2, 3] * 100)] == ["a", "b", "c"] * 100


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("nothing.db", None, "No such file"),
        ("foreign.db", b"this is no database at all, but a text" * 100, "not a database"),
        ("empty.db", b"", r"has the tables \[\]"),
        (".", None, "directory"),
        ("nothing.db/x", None, "No such file"),
    ],
)
def test_missing_and_foreign_files_are_named(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(pardata.ConfigError, match=reason) as caught:
        pardata.Database(tmp_path / name)
    assert str(tmp_path) in str(caught.value)


def test_opening_leaves_the_locks_of_the_process_alone(existing):
    connection = sqlite3.connect(existing, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    pardata.Database(existing).close()  # to close a descriptor of the file would drop the locks of all others
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    done = subprocess.run([sys.executable, "-c", code, existing], check=False, stderr=subprocess.PIPE, text=True)
    connection.close()
    assert "database is locked" in done.stderr


def test_wrong_table_and_key(existing, tmp_path):
    for arguments in (("nothing",), ("places", "nothing")):
        with pytest.raises(pardata.ConfigError, match="nothing"):
            pardata.Database(existing, *arguments)
    connection = sqlite3.connect(existing)
    connection.execute("CREATE TABLE other (a, b)")
    connection.close()
    with pytest.raises(pardata.ConfigError, match="places.*other"):
        pardata.Database(existing)
    with pytest.raises(pardata.ConfigError, match="key= must name"):
        pardata.Database(existing, "other")


def test_what_is_told_of_wrong_arguments(existing, tmp_path):
    (tmp_path / "latin.csv").write_bytes("id,name\n1,\xe9\n".encode("latin1"))
    with pytest.raises(pardata.ConfigError, match=r"latin\.csv cannot be read as a CSV file in UTF-8"):
        pardata.Database.create(tmp_path / "a.db", tmp_path / "latin.csv", key="id")
    with pytest.raises(pardata.ConfigError, match="is a directory"):
        pardata.Database.create(tmp_path, {1: 2})
    assert [entry.name for entry in tmp_path.parent.glob(f"{tmp_path.name}.*")] == []
    with pardata.Database(existing) as database:
        for wrong in (5, "abc"):
            with pytest.raises(pardata.ConfigError, match="a sequence or a mapping"):
                database.query("SELECT id FROM places WHERE id < ?", wrong)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({"a": 1, "b": object()}, {}, "numbers of 64 bits"),
        ({"a": 2**70}, {}, "numbers of 64 bits"),
        ([(1, 2)], {"key": "a"}, "need columns="),
        ([(1, 2), (3,)], {"key": "a", "columns": ["a", "b"]}, "1 values where there are 2"),
        ([{"a": 1}, {"b": 1}], {"key": "a"}, "expected"),
        ([1], {"key": "a", "columns": ["a"]}, "a row is a dict or a sequence of values, not 1"),
        (["ab"], {"key": "a", "columns": ["a", "b"]}, "not 'ab'"),
        (7, {"key": "a", "columns": ["a"]}, "not of 7"),
        ([(1, 2)], {"key": "a", "columns": "ab"}, "sequence of names, not 'ab'"),
        ([(1, 2)], {"key": "a", "columns": ["a", "A"]}, "same name"),
        ({1: 2}, {"table": "sqlite_x"}, "'sqlite_x' cannot be made"),
        ("nothing.csv", {"key": "a"}, "cannot be read as a CSV.*No such file"),
        ([(1, 2)], {"key": "c", "columns": ["a", "b"]}, "key= must name"),
        ([(None, 2)], {"key": "a", "columns": ["a", "b"]}, "is None"),
        ({"a": [1, 2], "b": [1]}, {"key": "a"}, "one value per key"),
    ],
)
def test_what_cannot_be_kept_leaves_the_old_file(tmp_path, data, options, message):
    path = tmp_path / "a.db"
    pardata.Database.create(path, {1: 2}).close()
    before = path.read_bytes()
    with pytest.raises(pardata.ConfigError, match=message):
        pardata.Database.create(path, data, **options)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.db"]
    assert path.read_bytes() == before


def test_a_frozen_file_that_was_replaced_is_not_mixed_with_the_new_one(tmp_path):
    path = tmp_path / "a.db"
    with pardata.Database.create(path, {1: 2}) as database:
        pickled = pickle.dumps(database)
        assert database[1] == 2
        pardata.Database.create(path, {1: 3}).close()
        assert database[1] == 2 and database.version == pickle.loads(pickled).version
        with pardata.Database(path) as new:
            assert new[1] == 3 and new.version != database.version
        with pytest.raises(pardata.BrokenError, match="replaced or changed") as caught:
            pickle.loads(pickled)[1]
        assert str(path) in str(caught.value)


def test_a_file_that_is_not_frozen_is_the_one_that_is_there_now_also_for_handles_that_are_open(tmp_path):
    path = tmp_path / "a.db"
    pardata.Database.create(path, {1: 2, 3: 4}).close()
    with pardata.Database(path) as database, ThreadPoolExecutor(1) as other:
        late = pickle.loads(pickle.dumps(database))
        assert database[1] == late[1] == other.submit(lambda: database[1]).result() == 2
        reading = iter(database.items())
        assert next(reading) == (1, 2)
        pardata.Database.create(path, [1], {"x": [5], "y": ["five"]}).close()
        assert database[1] == late[1] == other.submit(lambda: database[1]).result() == {"x": 5, "y": "five"}
        assert (3 in database, len(database), database.columns, dict(late)) == (False, 1, ["x", "y"], {1: database[1]})
        assert database.query("SELECT y FROM data")["y"].tolist() == ["five"]
        assert list(reading) == [(3, 4)]  # what there was when it began
        pardata.Database.create(path, {1: 2}, table="other").close()
        with pytest.raises(pardata.ConfigError, match="has no table 'data'") as caught:
            database[1]
        assert str(path) in str(caught.value)
        path.unlink()
        with pytest.raises(pardata.ConfigError, match="No such file"):
            late.get_many([1])
        pardata.Database.create(path, {1: 6}).close()
        assert database[1] == late[1] == 6
        late.close()


@pytest.mark.filterwarnings("error")
def test_the_garbage_collector_may_come_to_a_connection_first(tmp_path):
    pardata.Database.create(tmp_path / "a.db", {1: 2}).close()
    database = pardata.Database(tmp_path / "a.db")
    reading = iter(database.items())
    next(reading)
    circle = [database._connections.get(), reading]
    circle.append(circle)
    database.close()
    del circle, reading
    gc.collect()  # with a warning, the test fails at its end


def test_many_keys_come_out_of_one_state_of_a_file_that_is_changed_meanwhile(tmp_path, monkeypatch):
    path = tmp_path / "a.db"
    with pardata.Writer(path, ["key", "value"], key="key") as writer:
        writer.put([(number, 0) for number in range(1200)])
        writer.flush()
        with pardata.Database(path) as database:
            decode, changed = database[0], []

            class Keys(list):
                """Changes the file between the first query and the second one."""

                def __getitem__(self, part):
                    if isinstance(part, slice) and part.start == 500:
                        writer.put([(number, 1) for number in range(1200)])
                        changed.append(writer.flush())
                    return super().__getitem__(part)

            monkeypatch.setattr("pardata.lookup.finding.sorted", lambda keys: Keys(sorted(keys)), raising=False)
            assert decode == {"value": 0} and not database.get_many(np.arange(1200))["value"].any()
            assert changed == [2400] and database.get_many(np.arange(1200))["value"].all()


def test_what_lies_beside_a_database_does_not_get_into_the_one_that_replaces_it(tmp_path):
    path = tmp_path / "a.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE data (key INTEGER PRIMARY KEY, value)")
    other.execute("INSERT INTO data VALUES (1, 'old')")
    with pytest.raises(pardata.ConfigError, match="have it open"):
        pardata.Database.create(path, {1: "new"})
    with pytest.raises(pardata.ConfigError, match="not frozen"):
        pardata.Database(path, frozen=True)
    with pardata.Database(path) as database:
        assert database[1] == {"value": "old"}
    for name in ("a.db", "a.db-wal"):  # as a kill leaves them
        (tmp_path / f"copy of {name}").write_bytes((tmp_path / name).read_bytes())
    other.close()
    for name in ("a.db", "a.db-wal"):
        (tmp_path / f"copy of {name}").rename(tmp_path / name)
    with pardata.Database.create(path, {1: "new", 2: "newer"}) as database:
        assert dict(database) == {1: "new", 2: "newer"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.db"]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_database_that_was_cut_off_is_refused(tmp_path, frozen):
    path = tmp_path / "a.db"
    pardata.Database.create(path, np.arange(10_000), np.arange(10_000)).close()
    size = path.stat().st_size
    for rest in (4096, 5000, size // 2, size - 1):
        os.truncate(path, rest)
        with pytest.raises((pardata.ChecksumError, pardata.ConfigError), match=r"cut off|read as a database") as caught:
            pardata.Database(path, frozen=frozen)
        assert str(path) in str(caught.value)
        pardata.Database.create(path, np.arange(10_000), np.arange(10_000)).close()


@pytest.mark.parametrize("limit", [100, 10_000, 100_000])
def test_a_full_disk_leaves_the_old_database(tmp_path, limit):
    path = tmp_path / "a.db"
    pardata.Database.create(path, {1: 2}).close()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        with pytest.raises(OSError, match=rf"may have {limit} bytes, `ulimit -f`.*a\.db") as caught:
            pardata.Database.create(path, np.arange(30_000), np.arange(30_000))
        assert caught.value.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    with pardata.Database(path) as database:
        assert dict(database) == {1: 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.db"]


def test_two_writers_of_one_file(tmp_path):
    lock = HolderLock(str(tmp_path / "a.db"))
    with pytest.raises(pardata.ConfigError, match="being written by process"):
        pardata.Database.create(tmp_path / "a.db", {1: 2})
    lock.release()
    pardata.Database.create(tmp_path / "a.db", {1: 2}).close()
    with pytest.raises(pardata.ConfigError, match="cannot be written"):
        pardata.Database.create(tmp_path / "nowhere" / "a.db", {1: 2})


def test_a_lock_file_that_is_left_is_no_lock_and_losers_of_a_race_see_it(tmp_path):
    path = str(tmp_path / "a")
    (tmp_path / "a.lock").write_text("123")
    winners = []
    barrier = threading.Barrier(8)

    def race():
        barrier.wait()
        try:
            winners.append(HolderLock(path))
        except pardata.ConfigError:
            pass

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    winners.pop().release()
    assert list(tmp_path.iterdir()) == []


def test_scalars_of_numpy_are_parameters_like_others(tmp_path):
    with pardata.Database.create(tmp_path / "a.db", {i: i * 10 for i in range(1000)}) as database:
        for parameters in ([np.int64(500)], {"low": np.int64(500)}):
            where = "?" if isinstance(parameters, list) else ":low"
            found = database.query(f"SELECT count(*) AS n FROM data WHERE key > {where}", parameters)
            assert found["n"].tolist() == [499]


def test_rows_are_cut_by_a_column_of_the_query(tmp_path):
    with (
        pardata.Database.create(tmp_path / "a.db", {i: i for i in range(100)}) as database,
        ThreadPoolExecutor(1) as pool,
    ):
        for sql in ("SELECT * FROM data;", "SELECT * FROM data -- all"):
            assert [len(rows["key"]) for rows in database.map_rows(dict, sql, pool=pool, rows=50)] == [50, 50]
        with pytest.raises(pardata.ConfigError, match="no column 'slip'"):
            database.map_rows(dict, "SELECT * FROM data", pool=pool, key="slip")
        with pytest.raises(pardata.ConfigError, match="no column 'key'"):
            database.map_rows(dict, "SELECT value FROM data", pool=pool)


def test_an_iteration_keeps_its_database(tmp_path):
    pardata.Database.create(tmp_path / "a.db", {1: 2, 3: 4}).close()
    assert [key for key in pardata.Database(tmp_path / "a.db")] == [1, 3]


def test_a_key_that_is_nothing_and_arrays_in_rows_are_refused(tmp_path):
    for rows in ([(1, "a"), (None, "b")], [(1, np.arange(3))]):
        with pytest.raises(pardata.ConfigError, match=r"no key|holds an array"):
            pardata.Database.create(tmp_path / "a.db", rows, columns=["id", "x"], key="id")
    with pytest.raises(pardata.ConfigError, match="not of one shape"):
        pardata.Database.create(tmp_path / "a.db", {1: np.arange(3), 2: np.arange(2.0)})
    with pytest.raises(pardata.ConfigError, match="leave out values="):
        pardata.Database.create(tmp_path / "a.db", {1: 2}, [3])
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_locks_the_file_itself(tmp_path):
    """SQLite would take the parent's lock for its own, and what the child reads could change within a query."""
    path = tmp_path / "a.db"
    pardata.Database.create(path, {1: 0}).close()
    with pardata.Database(path) as database:
        assert database[1] == 0
        inherited = database._connections.get().sqlite
        pid = os.fork()
        if pid == 0:
            right = database[1] == 0
            try:
                inherited.execute("SELECT 1")
                right = False
            except sqlite3.ProgrammingError:
                pass
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert database[1] == 0


def open_files(path):
    """The number of descriptors of this process that lead to a file."""
    found = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(fd) and os.readlink(fd).startswith(str(path)) for fd in found)


def when_opened(monkeypatch, do, before=True):
    """Have something happen right before or right after SQLite next opens a file."""
    connect = sqlite3.connect

    def connecting(*arguments, **options):
        monkeypatch.undo()
        if before:
            do()
        connection = connect(*arguments, **options)
        if not before:
            do()
        return connection

    monkeypatch.setattr("pardata.lookup.connections.sqlite3.connect", connecting)


@pytest.mark.parametrize("before", [True, False])
def test_a_frozen_file_that_is_replaced_while_a_handle_opens_it_is_not_mixed_with_the_new_one(
    tmp_path, monkeypatch, before
):
    path = tmp_path / "a.db"
    with pardata.Database.create(path, {1: 2}) as database:
        late = pickle.loads(pickle.dumps(database))
        when_opened(monkeypatch, lambda: pardata.Database.create(path, {1: 3}).close(), before)
        with pytest.raises(pardata.BrokenError, match="replaced or changed"):
            late[1]
        when_opened(monkeypatch, lambda: pardata.Database.create(path, {1: 4}).close(), before)
        with pardata.Database(path, frozen=True) as new, pickle.loads(pickle.dumps(new)) as other:
            assert (database[1], new[1], other[1]) == (2, 4, 4)


def test_the_version_of_a_frozen_file_is_that_of_what_was_opened(tmp_path, monkeypatch):
    path = tmp_path / "a.db"
    pardata.Database.create(path, {1: 2}).close()
    look = Statements.of

    def replacing(*arguments):
        monkeypatch.undo()
        pardata.Database.create(path, {1: 3}).close()
        return look(*arguments)

    monkeypatch.setattr(Statements, "of", replacing)
    with pardata.Database(path, frozen=True) as database:
        assert database[1] == 2
        with pytest.raises(pardata.BrokenError, match="replaced or changed"):
            pickle.loads(pickle.dumps(database))[1]


@pytest.mark.parametrize("what", ["put into the file", "replaced"])
def test_what_is_changed_while_it_is_opened_is_not_taken_for_cut_off(tmp_path, monkeypatch, what):
    path = tmp_path / "a.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE data (key INTEGER PRIMARY KEY, value)")
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.executemany("INSERT INTO data VALUES (?, ?)", [(number, b"x" * 3000) for number in range(100)])
    if what == "replaced":
        other.close()
        pardata.Database.create(tmp_path / "small.db", {1: 2}).close()

    def changing(name):
        monkeypatch.undo()
        if what == "replaced":
            (tmp_path / "small.db").rename(path)
        else:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return leftovers(name)

    monkeypatch.setattr("pardata.lookup.connections.leftovers", changing)
    with pardata.Database(path) as database:
        assert len(database) == (1 if what == "replaced" else 100)
    other.close()


def test_the_version_is_told_while_the_log_beside_a_file_goes_away(existing, monkeypatch):
    with pardata.Database(existing) as database:
        monkeypatch.setattr("os.path.exists", lambda name: True)  # as it was a moment ago
        assert database.version


def test_a_database_that_is_closed_while_another_thread_opens_it_keeps_nothing(tmp_path, monkeypatch):
    with pardata.Database.create(tmp_path / "a.db", {1: 2}) as database:
        for before in (True, False):
            late = pickle.loads(pickle.dumps(database))
            when_opened(monkeypatch, late.close, before)
            with pytest.raises(pardata.ClosedError, match="was closed"):
                late[1]
            gc.collect()  # the error's traceback has it
            assert open_files(database.path) == 1
    assert open_files(database.path) == 0


CLOSED_BESIDE = {
    "one": lambda database: database[3],
    "many": lambda database: database.get_many(np.arange(1000)).sum(),
    "range": lambda database: database.range(1, 3)[1].sum(),
    "len": len,
    "query": lambda database: database.query("SELECT sum(value) FROM data")["sum(value)"].sum(),
    "map_rows": lambda database: len(list(database.map_rows(dict, "SELECT * FROM data", pool=Calls()))),
}


class Calls:
    """An executor that calls nothing."""

    def map(self, fn, *arguments):
        return zip(*arguments, strict=True)


@pytest.mark.parametrize("ask", CLOSED_BESIDE)
def test_a_look_up_comes_to_its_end_when_another_thread_closes_its_database(tmp_path, ask):
    with pardata.Database.create(tmp_path / "a.db", np.arange(1000), np.arange(1000)) as database:
        wanted = CLOSED_BESIDE[ask](database)
        execute = database._connections.get().execute

        def closing(*arguments):
            cursor = execute(*arguments)
            database.close()
            return cursor

        database._connections.get().execute = closing
        assert CLOSED_BESIDE[ask](database) == wanted
        with pytest.raises(pardata.ClosedError):
            CLOSED_BESIDE[ask](database)
        assert open_files(database.path) == 0


def test_close_closes_the_connections_of_all_threads(existing):
    with ThreadPoolExecutor(1) as pool:
        database = pardata.Database(existing)
        assert pool.submit(database.__getitem__, 1).result() == database[1]
        assert open_files(existing) > 1
        database.close()
        assert open_files(existing) == 0


def test_threads_that_open_a_database_at_once_do_not_disturb_each_other(existing, monkeypatch):
    class Disturbed(weakref.WeakSet):
        """Another thread opens the database during an iteration over this."""

        def __iter__(self):
            entries = super().__iter__()
            yield next(entries)
            if not seen:
                seen.append(self)
                thread = threading.Thread(target=lambda: database[1])
                thread.start()
                thread.join()
            yield from entries

    seen = []
    with pardata.Database(existing) as database, pardata.Database(existing) as other, ThreadPoolExecutor(1) as pool:
        disturbed = Disturbed([database._connections.get(), other._connections.get()])
        monkeypatch.setattr("pardata.lookup.connections._all_open", disturbed)
        assert pool.submit(database.__getitem__, 2).result() == other[2]


def test_what_no_database_holds_is_not_left_to_sqlite_to_convert(tmp_path):
    class Key:
        def __conform__(self, protocol):
            raise AssertionError("SQLite has been asked")

    with pardata.Database.create(tmp_path / "a.db", {"2026-01-01": 1, "b": 2}) as database:
        for key in (datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), Key(), bytearray(b"b"), None):
            assert key not in database and database.get(key) is None
            assert database.get_many([key, "b"], default=0).tolist() == [0, 2]
        assert database[np.str_("b")] == 2
