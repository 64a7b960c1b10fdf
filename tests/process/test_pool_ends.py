"""Ctrl-C of whatever waits for a pool, finalizers, calls that exit, and workers that cannot start."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import pardata
from pardata.errors import RemoteTraceback
from pardata.pool.default import default_pool

KINDS = ["process", "thread"]


@contextlib.contextmanager
def interrupted_when(path):
    """SIGINT for the main thread as soon as a task has written to the FIFO at `path`, and that thread waits.

    Before it waits it may be between the statement that begins the work and the one that waits for it: nobody who could
    drop the work would know then.
    """
    os.mkfifo(path)
    has_come = threading.Event()
    main = threading.get_ident()

    def shoot():
        with open(path, "rb") as file:
            file.read(1)
        while not has_come.is_set() and sys._current_frames()[main].f_code.co_name != "wait":
            os.sched_yield()
        while not has_come.is_set():  # one that comes just before Python's wait begins does not wake it
            os.kill(os.getpid(), signal.SIGINT)
            has_come.wait(5)

    shooter = threading.Thread(target=shoot)
    shooter.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
            threading.Event().wait()  # should it come late
    finally:
        has_come.set()
        shooter.join()


def endless_on(path):
    def endless(item):
        with contextlib.suppress(BrokenPipeError), open(path, "wb") as file:  # that of another call was read meanwhile
            file.write(b"!")
        threading.Event().wait()
        return item

    return endless


def wait_for_calls(pool, fn):
    futures = [pool.submit(fn, n) for n in range(20)]
    futures[0].result()


WAITS = {
    "map": lambda pool, fn: list(pool.map(fn, range(20), chunksize=1)),
    "results": lambda pool, fn: list(pool.results(fn, range(20), ordered=False, ends=False, lazy=True)),
    "two maps": lambda pool, fn: list(zip(pool.map(fn, range(9)), pool.map(fn, range(9)), strict=True)),
    "result": wait_for_calls,
    "exception": lambda pool, fn: pool.submit(lambda: list(map(fn, range(2)))).exception(),
    "map_array": lambda pool, fn: pool.map_array(fn, np.arange(10.0), chunksize=5),
    "reduce_array": lambda pool, fn: pool.reduce_array(fn, np.arange(10.0), max, chunksize=5),
    "foreach_array": lambda pool, fn: pool.foreach_array(fn, np.arange(10.0), chunksize=5),
    "map with a bar": lambda pool, fn: list(pool.map(fn, range(20), progress=True)),
    "shutdown": lambda pool, fn: pool.submit(fn, 1) and pool.shutdown(),
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_frees_the_pool(wait, tmp_path):
    path = f"{tmp_path}/begun"
    with contextlib.suppress(RuntimeError), pardata.WorkerPool(2) as pool:
        with interrupted_when(path):
            WAITS[wait](pool, endless_on(path))
        if wait == "shutdown":
            pool.shutdown()
            raise RuntimeError("it has ended")
        assert list(pool.map(abs, range(-9, 0), timeout=60)) == list(range(9, 0, -1))
        assert not any(np.isnan(entry["work_s"]) for entry in pool.statistics()["workers"])


LOOKALIKE_WAITS = {
    "map": lambda pool, fn: pool.map(fn, range(9)),
    "imap": lambda pool, fn: list(pool.imap_unordered(fn, range(9))),
    "map_async": lambda pool, fn: pool.map_async(fn, range(9)).get(),
    "apply": lambda pool, fn: pool.apply(fn, (1,)),
}


@pytest.mark.parametrize("wait", LOOKALIKE_WAITS)
def test_ctrl_c_frees_a_pool_that_looks_like_multiprocessings(wait, tmp_path):
    path = f"{tmp_path}/begun"
    with pardata.Pool(2) as pool:
        with interrupted_when(path):
            LOOKALIKE_WAITS[wait](pool, endless_on(path))
        assert pool.apply_async(abs, (-3,)).get(60) == 3


def test_ctrl_c_frees_the_pool_of_the_process_and_shutdown_ends_it(tmp_path):
    path = f"{tmp_path}/begun"
    try:
        with interrupted_when(path):
            list(pardata.map(endless_on(path), range(9)))
        assert list(pardata.map(abs, [-1], timeout=60)) == [1]
        pool = default_pool()
    finally:
        pardata.shutdown()
    assert not pool.is_open
    pardata.shutdown()  # there is none


def test_ctrl_c_leaves_what_other_threads_have_the_pool_do(tmp_path):
    path, gate = f"{tmp_path}/begun", f"{tmp_path}/gate"
    os.mkfifo(gate)

    def guarded():
        with open(gate, "rb") as file:
            return file.read()

    with pardata.WorkerPool(2) as pool:
        futures = []
        other = threading.Thread(target=lambda: futures.append(pool.submit(guarded)))
        other.start()
        other.join()
        with interrupted_when(path):
            list(pool.map(endless_on(path), range(2)))
        with open(gate, "wb") as file:
            file.write(b"done")
        assert futures[0].result(60) == b"done"


def test_ctrl_c_of_threads_drops_what_was_not_begun(tmp_path):
    path, begun, gate = f"{tmp_path}/begun", [], threading.Event()

    def held(n):
        begun.append(n)
        with open(path, "wb") as file:
            file.write(b"!")
        gate.wait()

    with pardata.WorkerPool(1, kind="thread") as pool:
        with interrupted_when(path):
            list(pool.map(held, range(9), chunksize=9))
        gate.set()
        assert pool.submit(abs, -1).result(60) == 1
    assert begun == [0]


# -- finalizers --------------------------------------------------------------------------------------------------------


def note(folder, what):
    with open(f"{folder}/{what}-{os.getpid()}-{threading.get_ident()}", "a") as file:
        file.write(f"{pardata.worker().index}\n")


@pytest.mark.parametrize("kind", KINDS)
def test_a_finalizer_runs_in_every_worker_that_ends_in_peace(kind, tmp_path):
    options = {"initializer": note, "initargs": (tmp_path, "begin"), "finalizer": note, "finalargs": (tmp_path, "end")}
    with pardata.WorkerPool(2, kind=kind, **options) as pool:
        assert list(pool.map(abs, range(20), chunksize=1)) == list(range(20))
        assert not list(tmp_path.glob("end-*"))
    begun = {path.name.removeprefix("begin-"): path.read_text() for path in tmp_path.glob("begin-*")}
    ended = {path.name.removeprefix("end-"): path.read_text() for path in tmp_path.glob("end-*")}
    assert begun == ended and sorted(begun.values()) == ["0\n", "1\n"]


def test_a_finalizer_runs_in_a_worker_that_makes_room(tmp_path):
    with pardata.WorkerPool(1, max_tasks_per_worker=2, finalizer=note, finalargs=(tmp_path, "end")) as pool:
        pids = {pool.submit(os.getpid).result() for _ in range(6)}
    assert len(pids) == 3
    assert {int(path.name.split("-")[1]) for path in tmp_path.iterdir()} >= pids


def fail(text):
    print("finalizing")
    sys.exit(text)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_a_finalizer_is_shown_and_breaks_nothing(kind, capsys):
    with pardata.WorkerPool(1, kind=kind, finalizer=fail, finalargs=("badly",)) as pool:
        assert pool.submit(abs, -1).result() == 1
    shown = capsys.readouterr()
    assert "finalizing\n" in shown.out
    assert "the pool's finalizer raised:\n" in shown.err and "SystemExit: badly" in shown.err
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(abs, 1)


def test_a_finalizer_has_to_be_a_function():
    with pytest.raises(pardata.ConfigError, match="finalizer must be a function, not int"):
        pardata.WorkerPool(1, finalizer=1)


# -- calls that exit ---------------------------------------------------------------------------------------------------


EXITS = {
    "submit": lambda pool: pool.submit(sys.exit, 0).result(),
    "map": lambda pool: list(pool.map(sys.exit, [0])),
    "map_array": lambda pool: pool.map_array(lambda block: sys.exit(0), np.arange(10.0)),
    "foreach_array": lambda pool: pool.foreach_array(lambda block: sys.exit(0), np.arange(10.0)),
    "reduce_array": lambda pool: pool.reduce_array(lambda block: sys.exit(0), np.arange(10.0), max),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", EXITS)
def test_a_call_that_exits_is_an_error(call, kind):
    with pardata.WorkerPool(1, kind=kind) as pool:
        with pytest.raises(RuntimeError, match=r"the function called sys.exit\(0\)") as caught:
            EXITS[call](pool)
        assert isinstance(caught.value.__cause__, RemoteTraceback)
        assert pool.submit(abs, -1).result() == 1


def test_a_call_that_exits_is_an_error_in_other_libraries_pools():
    joblib = pytest.importorskip("joblib")
    pardata.register_joblib()
    with pardata.Pool(1) as pool, pytest.raises(RuntimeError, match="sys.exit"):
        pool.apply(sys.exit, (0,))
    try:
        with joblib.parallel_config(backend="pardata"), pytest.raises(RuntimeError, match="sys.exit"):
            joblib.Parallel(n_jobs=2)([joblib.delayed(sys.exit)(0)] * 2)
    finally:
        pardata.shutdown()


# -- workers that cannot start -----------------------------------------------------------------------------------------


class Unloadable:
    """Cannot be unpickled where `here` is another process."""

    def __init__(self):
        self.here = os.getpid()

    def __setstate__(self, state):
        if state["here"] != os.getpid():
            raise LookupError("no such thing here")

    def __call__(self, *_):
        return 0


def interrupt(*_):
    raise KeyboardInterrupt


INITIALIZERS = [
    (sys.exit, (3,), RuntimeError, r"sys.exit\(3\)"),
    (interrupt, (), RuntimeError, "raised KeyboardInterrupt"),
    (int, ("x",), ValueError, "invalid literal"),
    (Unloadable(), (), LookupError, "no such thing here"),
]


@pytest.mark.parametrize(("initializer", "initargs", "kind", "text"), INITIALIZERS)
def test_what_keeps_a_pools_workers_from_starting_is_the_cause(initializer, initargs, kind, text, capfd):
    with (
        pardata.WorkerPool(2, initializer=initializer, initargs=initargs) as pool,
        pytest.raises(pardata.WorkerLostError, match=text) as caught,
    ):
        pool.submit(abs, 1).result()
    cause = caught.value.__cause__
    while isinstance(cause, pardata.WorkerLostError):
        cause = cause.__cause__
    assert type(cause) is kind and isinstance(cause.__cause__, RemoteTraceback) and cause.__notes__
    assert capfd.readouterr().err == ""


def test_what_keeps_a_runs_workers_from_starting_is_raised(capfd):
    with pytest.raises(LookupError, match="no such thing here") as caught:
        pardata.source([1, 2]).map(Unloadable(), workers=2).run()
    assert "while its function was being loaded in the worker" in caught.value.__notes__[0]
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("is_removed_before", [False, True])
def test_a_working_directory_that_was_removed_keeps_no_worker_from_starting(is_removed_before, tmp_path, monkeypatch):
    folder, other, flag = tmp_path / "gone", tmp_path, f"{tmp_path}/flag"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def die_once(n):
        if not os.path.exists(flag):
            open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    if is_removed_before:
        folder.rmdir()
    with pardata.WorkerPool(1) as pool:
        pool.submit(int).result()
        if not is_removed_before:
            folder.rmdir()
        assert pool.submit(die_once, 1).result() == 1
    os.unlink(flag)
    assert list(pardata.source([1, 2]).map(die_once)) == [1, 2]
    monkeypatch.chdir(other)


def test_a_worker_says_where_it_works_instead(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pardata.WorkerPool(1) as pool:
        assert pool.submit(os.getcwd).result() == "/"
    monkeypatch.chdir(tmp_path)
    said = capsys.readouterr().err
    assert said.startswith("[pool 0] the working directory") and str(folder) in said and "works in '/'" in said


# -- the end of the interpreter ----------------------------------------------------------------------------------------


def test_a_worker_that_dies_while_the_interpreter_waits_for_its_pool_is_replaced(tmp_path):
    os.mkfifo(f"{tmp_path}/end")
    script = f"""
        import atexit, os, pardata, signal, time

        def work():
            if os.path.exists("{tmp_path}/died"):
                open("{tmp_path}/done", "w").close()
                return
            with open("{tmp_path}/end") as file:
                file.read()
            time.sleep(0.2)  # for handlers that would be called before the pool's
            open("{tmp_path}/died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

        pool = pardata.WorkerPool(1)
        pool.submit(work)
        atexit.register(lambda: open("{tmp_path}/end", "w").close())  # called first
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=50)
    assert os.path.exists(f"{tmp_path}/done")


def test_ctrl_c_while_the_interpreter_waits_for_a_pool_ends_it_silently(tmp_path):
    os.mkfifo(f"{tmp_path}/begun")
    script = f"""
        import atexit, pardata, signal, threading

        def endless():
            with open("{tmp_path}/begun", "wb") as file:
                file.write(b"!")
            threading.Event().wait()

        pool = pardata.WorkerPool(1)
        pool.submit(endless)
        atexit.register(print, "at its end", flush=True)  # called first
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with open(f"{tmp_path}/begun", "rb") as file:
        file.read(1)
    assert process.stdout.readline() == "at its end\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "")
