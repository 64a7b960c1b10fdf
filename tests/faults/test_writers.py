"""Writers that are killed: nothing is lost, nothing is there twice, no file is torn."""

import contextlib
import itertools
import os
import pickle
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import pardata
from pardata.memory.locking import HolderLock
from tests.conftest import worker_processes
from tests.faults.interrupting import interrupt_at, lines_of

BATCHES, ROWS = 60, 20


def batch(number):
    return [(number * ROWS + i, f"row {i}") for i in range(ROWS)]


def contents(path, table="data"):
    connection = sqlite3.connect(path)
    rows = connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    left = connection.execute("SELECT * FROM pardata_batches").fetchall()
    connection.close()
    return rows, left


ALL = [row for number in range(BATCHES) for row in batch(number)]


def test_rows_of_every_kind_are_written_and_read_meanwhile(tmp_path):
    path = tmp_path / "a.db"
    with pardata.Writer(path, ["id", "name"], key="id", queue=2) as writer:
        with pardata.Database(path) as database:
            writer.put([(1, "one"), {"name": "two", "id": 2}])
            assert writer.flush() == 2
            assert database[2] == {"name": "two"}
            writer.put({"id": np.array([3, 1]), "name": ["three", "uno"]})
            assert writer.flush() == 4
            assert dict(database) == {1: {"name": "uno"}, 2: {"name": "two"}, 3: {"name": "three"}}
        with pytest.raises(pardata.ConfigError, match="being written by process"):
            pardata.Writer(path, ["id", "name"])
        columns_of_other_things = ({"id": 1, "name": 2}, {"id": [1], "name": "a"}, {"id": [1], "name": np.ones((1, 2))})
        arrays = ([(1, np.ones(2))], {"id": [1], "name": [np.ones(2)]})
        rows_of_other_things = ((1, 2), 5, "ab", ["ab"])
        wrongs = ([(1,)], [{"id": 1}], {"id": [1]}, {"id": [1], "name": []})
        for wrong in (*wrongs, *columns_of_other_things, *arrays, *rows_of_other_things):
            with pytest.raises(pardata.ConfigError):
                writer.put(wrong)
    with pytest.raises(pardata.ClosedError):
        writer.put([])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.db"]
    with pardata.Writer(path, ["name", "id"]) as writer:
        writer.put([("four", 4)])
    assert contents(path) == ([(1, "uno"), (2, "two"), (3, "three"), (4, "four")], [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": []}, "different names"),
        ({"columns": ["a", "a"]}, "different names"),
        ({"columns": ["a"], "key": "b"}, "key= must be"),
        ({"columns": ["a"], "queue": 0}, "queue must be"),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(pardata.ConfigError, match=message):
        pardata.Writer(tmp_path / "a.db", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_database_reaches_the_caller_and_ends_the_writer(tmp_path):
    path = tmp_path / "a.db"
    with pytest.raises(OverflowError, match="too large"), pardata.Writer(path, ["a"], key="a") as writer:
        writer.put([(1,)])
        with pytest.raises(pardata.ConfigError, match="has no key"):
            writer.put([(2,), (None,)])
        with pytest.raises(pardata.ConfigError, match="complex"):
            writer.put([(2,), (1j,)])
        writer.put([(2,), (2**70,)])
        writer.put([(3,)])
        writer.flush()
    with pardata.Database(path) as database:
        assert 1 in database and 2 not in database
    path = tmp_path / "b.db"
    pardata.Database.create(path, {1: 2}).close()
    with pytest.raises(pardata.ConfigError, match="has the columns"):
        pardata.Writer(path, ["other"])
    (tmp_path / "c.db").write_bytes(b"no database" * 1000)
    with pytest.raises(pardata.ConfigError, match="cannot be written as a database"):
        pardata.Writer(tmp_path / "c.db", ["a"])


def test_values_that_are_put_in_columns_stay_what_they_are(tmp_path):
    path = tmp_path / "a.db"
    columns = {"a": ["x\0", b"\5\0\0"], "b": [1, "a"], "c": [2**60 + 1, 0.5], "d": np.arange(2)}
    with pardata.Writer(path, list(columns)) as writer:
        writer.put(columns)
    assert contents(path)[0] == list(zip(*map(list, columns.values()), strict=True))
    with pytest.raises(pardata.ConfigError, match="may be there twice"):
        pardata.Writer(path, list(columns), key="d")
    with pardata.Writer(path, list(columns)) as writer, pytest.raises(TypeError, match="process that made it"):
        pickle.dumps(writer)


def test_other_values_than_those_it_was_made_of_come_into_a_database(tmp_path):
    path = tmp_path / "a.db"
    pardata.Database.create(path, [1, 2], {"name": np.array(["ab", "c"]), "n": np.array([1, 2])}, key=None).close()
    with pardata.Writer(path, ["key", "name", "n"], key="key") as writer:
        writer.put([(3, "abcdef", 1.5)])
    with pardata.Database(path) as database:
        assert database.get_many([1, 3])["name"].tolist() == ["ab", "abcdef"]
        assert database.get_many([1, 3])["n"].tolist() == [1, 1.5]


def test_a_writer_does_not_wait_at_its_end_for_who_reads(tmp_path):
    path = tmp_path / "a.db"
    with pardata.Writer(path, ["a"], key="a") as writer:
        writer.put([(n,) for n in range(100)])
        writer.flush()
        reading = iter(pardata.Database(path))
        assert next(reading) == 0
        writer.put([(n,) for n in range(100, 200)])
    assert list(reading) == list(range(1, 100))  # what there was when it began


@pytest.mark.parametrize("key", ["id", None])
def test_the_writing_process_is_killed_again_and_again(tmp_path, key):
    path = tmp_path / "a.db"
    with pardata.Writer(path, ["id", "name"], key=key) as writer:
        for number in range(BATCHES):
            writer.put(batch(number))
            if number % 6 == 0:
                for pid in worker_processes():
                    with contextlib.suppress(ProcessLookupError):  # the last one killed is listed until it is reaped
                        os.kill(int(pid), signal.SIGKILL)
            if number % 6 == 5:
                writer.flush()  # three deaths at one batch would be blamed on it
    assert contents(path) == (ALL, [])


def test_ctrl_c_at_each_line_of_put_loses_no_batch_that_was_put(tmp_path):
    path = tmp_path / "a.db"
    numbers, returned = itertools.count(), []

    def put():
        number = next(numbers)
        writer.put([(number,)])
        returned.append(number)

    with pytest.raises(KeyboardInterrupt), pardata.Writer(path, ["n"], queue=1) as writer:
        put()
        _, lines = lines_of(put)  # it waits for the first batch
        for line in lines:
            with contextlib.suppress(KeyboardInterrupt):
                interrupt_at(line, put)
        put()
        raise KeyboardInterrupt
    rows, left = contents(path)
    assert set(returned) <= {n for (n,) in rows}
    assert len(set(rows)) == len(rows)
    assert left == []


def interrupted():
    raise KeyboardInterrupt


def test_another_ctrl_c_while_a_writer_is_closed_drops_what_waits(tmp_path, monkeypatch):
    fifo = str(tmp_path / "never opened at its other end")
    os.mkfifo(fifo)
    writer = pardata.Writer(tmp_path / "a.db", ["id", "name"])
    writer.put(batch(0))
    writer.flush()
    monkeypatch.setattr("pardata.lookup.writing.write", lambda *_: os.open(fifo, os.O_RDONLY))
    writer.put(batch(1))
    monkeypatch.setattr(writer, "flush", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.close()
    assert not worker_processes()
    writer.close()
    assert contents(tmp_path / "a.db")[0] == batch(0)


@pytest.mark.parametrize("window", ["begin", "middle", "before", "after"])
def test_the_writing_process_is_killed_in_each_window_of_a_batch(tmp_path, window, monkeypatch):
    flag = str(tmp_path / "killed")
    monkeypatch.setattr("pardata.lookup.writing.write", lambda *arguments: write_in(window, flag, *arguments))
    with pardata.Writer(tmp_path / "a.db", ["id", "name"]) as writer:
        for number in range(5):
            writer.put(batch(number))
        writer.flush()
        assert os.path.exists(flag)
        rows, _ = contents(tmp_path / "a.db")
        assert rows == ALL[: 5 * ROWS]


def write_in(window, flag, target, *arguments):
    """In the writing process: as `write`, but kill it once, in a window."""
    from pardata.lookup import writing

    class Killing(sqlite3.Connection):
        def execute(self, sql, *parameters):
            done = super().execute(sql, *parameters) if (window, sql) == ("after", "COMMIT") else None
            begins = {"begin": "BEGIN", "middle": "INSERT INTO pardata", "before": "COMMIT", "after": "COMMIT"}[window]
            if sql.startswith(begins):
                try:
                    os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            return done or super().execute(sql, *parameters)

    if target.path not in writing._open:
        writing._open[target.path] = sqlite3.connect(target.path, isolation_level=None, timeout=60.0, factory=Killing)
    return writing.write(target, *arguments)


def test_a_batch_that_is_done_again_is_written_before_the_later_ones(tmp_path, monkeypatch):
    fifo = str(tmp_path / "all are put")
    os.mkfifo(fifo)
    monkeypatch.setattr("pardata.lookup.writing.write", lambda *arguments: write_after_death(fifo, *arguments))
    with pardata.Writer(tmp_path / "a.db", ["id", "name"], key="id") as writer:
        for number in range(5):
            writer.put([(1, f"name {number}")])
        with open(fifo, "w") as file:
            file.write("!")
    assert contents(tmp_path / "a.db")[0] == [(1, "name 4")]


def write_after_death(fifo, target, number, *arguments):
    """In the writing process: as `write`, but the first batch waits, and then kills it once."""
    from pardata.lookup import writing

    if number == 0 and os.path.exists(fifo):
        with open(fifo) as file:
            file.read()
        os.unlink(fifo)
        os.kill(os.getpid(), signal.SIGKILL)
    return writing.write(target, number, *arguments)


ALL_KILLED = """
import os, signal, sys
import pardata
from tests.faults.test_writers import batch
writer = pardata.Writer(sys.argv[1], ["id", "name"], key="id")
for number in range(10):
    writer.put(batch(number))
    if number == 5:
        writer.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_everything_is_killed_and_the_next_writer_goes_on(tmp_path):
    path = tmp_path / "a.db"
    done = subprocess.run([sys.executable, "-c", ALL_KILLED, path], check=False)
    assert done.returncode == -9
    with pardata.Writer(path, ["id", "name"], key="id") as writer:
        rows, _ = contents(path)
        assert len(rows) >= 6 * ROWS and len(rows) % ROWS == 0  # whole batches, all that `flush` had waited for
        for number in range(BATCHES):
            writer.put(batch(number))
    rows, _ = contents(path)
    assert rows == ALL


def test_a_lock_dies_with_its_holder_also_where_a_forked_child_lives_on(tmp_path):
    read, write = os.pipe()
    code = """
import os, sys, signal
from pardata.memory.locking import HolderLock
lock = HolderLock(sys.argv[1])
started, tell = os.pipe()
if os.fork() == 0:
    os.write(tell, b"!")
    os.read(int(sys.argv[2]), 1)
    os._exit(0)
os.read(started, 1)
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = str(tmp_path / "a")
    holder = subprocess.Popen(
        [sys.executable, "-c", code, path, str(read)], pass_fds=[read], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "ready\n"
    holder.wait()
    HolderLock(path).release()
    os.write(write, b"!")
    holder.stdout.read()  # until the child has ended
    holder.stdout.close()
    os.close(read)
    os.close(write)


LOADING = """
import os, signal, sys
import pardata
window = sys.argv[2]

def rows():
    yield (1, 2)
    if window == "filling":
        os.kill(os.getpid(), signal.SIGKILL)

if window == "filled":
    from pardata.files import replacing
    replacing.put_in_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
pardata.Database.create(sys.argv[1], rows(), key="a", columns=["a", "b"])
"""


@pytest.mark.parametrize("window", ["filling", "filled", "never"])
def test_a_load_that_is_killed_leaves_the_old_file(tmp_path, window):
    path = tmp_path / "a.db"
    pardata.Database.create(path, {"old": 1}).close()
    done = subprocess.run([sys.executable, "-c", LOADING, path, window], check=False)
    assert done.returncode == (0 if window == "never" else -9)
    with pardata.Database(path) as database:
        assert dict(database) == ({1: {"b": 2}} if window == "never" else {"old": 1})
    pardata.Database.create(path, {"new": 1}).close()  # nobody's lock, and what was left is thrown away
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.db"]


KILLED_AT_A_LINE = """
import os, signal, sys
from pardata.memory import locking

path, line = sys.argv[1], 0
while True:
    line += 1
    pid = os.fork()
    if not pid:
        seen = 0
        def trace(frame, event, _):
            global seen
            if frame.f_code.co_filename != locking.__file__:
                return None
            seen += event == "line"
            if event == "line" and seen == line:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
        sys.settrace(trace)
        locking.HolderLock(path).release()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    lock = locking.HolderLock(path)
    assert lock.is_mine
    lock.release()
    assert not os.path.exists(f"{path}.lock"), line
    if not status:
        break
print(line)
"""


def test_a_lock_of_a_process_that_was_killed_at_any_line_can_be_had(tmp_path):
    """Also between the file and its lock, and between the lock and what is written there."""
    command = [sys.executable, "-W", "ignore", "-c", KILLED_AT_A_LINE, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 25
