"""The process layer on a bad day: no forks, no descriptors, no pidfds, blocked signals, stopped or dead servers.

What cannot be had from a real kernel without being root is taken away by a `sitecustomize` of the program under test,
which the fork server loads as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import pardata
from pardata.process import launcher
from tests.faults.test_ends import script, session_of, wait_until_gone

Run = Callable[..., subprocess.CompletedProcess[str]]

# While the file in NO_FORKS exists, nothing can be forked; with NO_PIDFD there is no such system call.
SITE = """
    import errno, os

    no_forks, fork, pidfd_open = os.environ.get("NO_FORKS", ""), os.fork, os.pidfd_open

    def may_fork():
        if os.path.exists(no_forks):
            open(no_forks + "-refused", "w").close()
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    def no_pidfd(pid, flags=0):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    os.fork = may_fork
    if "NO_PIDFD" in os.environ:
        os.pidfd_open = no_pidfd
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script, in which `no_forks` is a path: while it exists, no process can be forked."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(textwrap.dedent(SITE))
    no_forks = str(tmp_path / "no-forks")

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH"), os.getcwd()]))
        head = f"import os, signal, time, pardata\nno_forks = {no_forks!r}\n"
        return subprocess.run(
            [sys.executable, "-"],
            input=head + textwrap.dedent(code),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env={**os.environ, "PYTHONPATH": path, "NO_FORKS": no_forks, **environment},
        )

    return run


def says(done: subprocess.CompletedProcess[str], *lines: str) -> None:
    assert (done.stdout.splitlines(), done.stderr) == (list(lines), "")


# -- no more processes -------------------------------------------------------------------------------------------------


def test_a_pool_for_which_there_are_no_processes_says_so_and_harms_no_other(run: Run) -> None:
    done = run("""
        with pardata.WorkerPool(2) as pool:
            pids = {pool.submit(os.getpid).result() for _ in range(20)}
            open(no_forks, "w").close()
            for make in (lambda: pardata.WorkerPool(1), lambda: pardata.source(range(3)).map(abs).run()):
                try:
                    make()
                except pardata.CapacityError as error:
                    print("refuses another process" in str(error), "ulimit -u" in str(error))
            print({pool.submit(os.getpid).result() for _ in range(20)} <= pids)
            os.unlink(no_forks)
            print(list(pardata.source(range(3)).map(abs)))
    """)
    says(done, "True True", "True True", "True", "[0, 1, 2]")


def test_a_worker_that_cannot_be_replaced_now_is_replaced_later(run: Run) -> None:
    done = run("""
        import threading

        def work(x):
            if x == 2 and not os.path.exists(no_forks + "-was"):
                open(no_forks + "-was", "w").close()
                open(no_forks, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return x

        def seen():  # the system has refused once, and does not the next time
            while not os.path.exists(no_forks + "-refused"):
                time.sleep(0.01)
            os.unlink(no_forks)
            os.unlink(no_forks + "-refused")

        for kind in ("run", "pool"):
            thread = threading.Thread(target=seen)
            thread.start()
            if kind == "run":
                print(list(pardata.source(range(4)).map(work, chunksize=1)))
            else:
                with pardata.WorkerPool(1) as pool:
                    print(list(pool.map(work, range(4), chunksize=1)))
            thread.join()
            os.unlink(no_forks + "-was")
    """)
    says(done, "[0, 1, 2, 3]", "[0, 1, 2, 3]")


def test_a_worker_that_can_never_be_replaced_ends_the_work_with_the_reason(run: Run) -> None:
    done = run("""
        def work(x):
            if x == 2:
                open(no_forks, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return x

        for start in (
            lambda: pardata.source(range(4)).map(work, chunksize=1).run(),
            lambda: list(pardata.WorkerPool(1).map(work, range(4), chunksize=1)),
        ):
            try:
                start()
            except pardata.CapacityError as error:
                print("refuses another process" in str(error))
            os.unlink(no_forks)
    """)
    says(done, "True", "True")


# -- no pidfds ---------------------------------------------------------------------------------------------------------


def test_without_pidfds_workers_are_replaced_ended_and_cancelled_all_the_same(run: Run) -> None:
    done = run(
        """
        from pardata.process.launcher import fork_server

        def work(x):
            if x == 5 and not os.path.exists(no_forks + "-died"):
                open(no_forks + "-died", "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return x

        print(list(pardata.source(range(9)).map(work, workers=2)) == list(range(9)))
        out = []
        for item in pardata.source(range(500)).map(abs, workers=2):
            out.append(item)
            if len(out) == 20:
                os.kill(fork_server.pid, signal.SIGKILL)
        print(out == list(range(500)))
        with pardata.WorkerPool(1) as pool:
            running = pool.submit(time.sleep, 3600)
            while not running.running():
                time.sleep(0.01)
            print(running.cancel(), pool.submit(pow, 2, 3).result())
        try:
            pardata.source([3600]).map(time.sleep, timeout_s=0.2).run()
        except pardata.DeadlineExceeded as error:
            print("its worker was killed" in str(error))
        """,
        NO_PIDFD="1",
    )
    says(done, "True", "True", "True 8", "True")


# -- few descriptors ---------------------------------------------------------------------------------------------------


def test_the_fork_server_may_have_as_many_descriptors_as_there_may_be(run: Run) -> None:
    done = run("""
        import resource
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        pardata.source(range(5)).map(abs).run()
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        branches = pardata.source(range(100)).scatter(40)
        print(sum(pardata.merge(*[branch for branch in branches]).map(abs)))
    """)
    says(done, "4950")


def test_a_worker_with_more_descriptors_than_the_server_may_have_is_refused_at_once(run: Run) -> None:
    done = run("""
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        from pardata.process.launcher import fork_server
        print(pardata.source(range(5)).map(abs).run() is not None)
        resource.prlimit(fork_server.pid, resource.RLIMIT_NOFILE, (40, hard))
        branches = pardata.source(range(100)).scatter(60)
        try:
            pardata.merge(*branches).map(abs).run()
        except pardata.CapacityError as error:
            print("a worker process needs 6" in str(error), "ulimit -n" in str(error))
        print(list(pardata.source(range(3)).map(abs)))
    """)
    says(done, "True", "True True", "[0, 1, 2]")


def test_a_program_at_its_own_limit_gets_an_error_with_the_number_and_goes_on(run: Run) -> None:
    rooms = range(2, 60, 7)
    done = run(f"""
        import resource
        pardata.source(range(5)).map(abs).run()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        used = len(os.listdir("/proc/self/fd")) - 1
        for room in {rooms}:
            for start in (
                lambda: pardata.source(range(5)).map(abs, workers=4).map(abs, workers=4).run(),
                lambda: pardata.WorkerPool(8),
            ):
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + room, hard))
                try:
                    start()
                except pardata.CapacityError as error:
                    print("needs" in str(error), "file descriptors" in str(error), "ulimit -n" in str(error))
                print(len(os.listdir("/proc/self/fd")) - 1 - used)
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            print(list(pardata.source(range(3)).map(abs)))
    """)
    says(done, *["True True True", "0", "True True True", "0", "[0, 1, 2]"] * len(rooms))


# -- signals -----------------------------------------------------------------------------------------------------------


def test_a_program_that_has_blocked_all_signals_runs_and_ends(run: Run) -> None:
    done = run("""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        print(list(pardata.source(range(3)).map(abs)))
        with pardata.WorkerPool(1) as pool:
            print(pool.submit(pow, 2, 3).result())
            running = pool.submit(time.sleep, 3600)
            pool.terminate()
    """)
    says(done, "[0, 1, 2]", "8")


def test_workers_take_no_signal_handling_from_the_program(run: Run) -> None:
    done = run("""
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})
        def look(_):
            return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.pthread_sigmask(signal.SIG_BLOCK, ())
        print(list(pardata.source(range(1)).map(look)))
    """)
    says(done, "[(True, set())]")


@pytest.mark.parametrize("ignored", [False, True])
def test_programs_of_tasks_die_of_ctrl_c_unless_the_program_ignores_it(run: Run, ignored: bool) -> None:
    """As under `concurrent.futures`: no ignored SIGINT is inherited that the user has not asked for."""
    done = run(f"""
        import subprocess
        if {ignored}:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        def task(_):
            program = subprocess.Popen(["sh", "-c", "kill -INT $$; echo ignored"], stdout=subprocess.PIPE, text=True)
            return program.communicate()[0], program.returncode
        print(list(pardata.source(range(1)).map(task)))
        with pardata.WorkerPool(1) as pool:
            print(pool.submit(task, 0).result())
    """)
    found = ("ignored\n", 0) if ignored else ("", -signal.SIGINT)
    says(done, repr([found]), repr(found))


CTRL_C = """
    import pardata, subprocess

    def task(_):
        subprocess.run(["sh", "-c", "echo running; exec sleep 3600"])  # Python's sleep may miss a signal before it

    {start}
"""


@pytest.mark.parametrize(
    "start", ["pardata.source(range(1)).map(task).run()", "pardata.WorkerPool(1).submit(task, 0).result()"]
)
def test_ctrl_c_leaves_no_program_that_a_task_has_started(start: str) -> None:
    with script(CTRL_C.format(start=start)) as process:
        assert len(session_of(process.pid)) == 4  # the script, the fork server, the worker, its program
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        wait_until_gone(process.pid)


# -- the fork server stopped, or dead ----------------------------------------------------------------------------------


def test_a_stopped_fork_server_holds_nothing_up(run: Run) -> None:
    """Ends are noticed, a run is closed, the program ends."""
    done = run("""
        from pardata.process.launcher import fork_server
        pool = pardata.WorkerPool(1)
        print(pool.submit(pow, 2, 3).result())
        run = pardata.source(range(10**9)).map(abs).iterate()
        print(next(run))
        os.kill(fork_server.pid, signal.SIGSTOP)
        run.close()
        pool.shutdown()
        print("closed")
    """)
    says(done, "8", "0", "closed")


def test_a_stopped_fork_server_is_replaced_when_it_is_needed(run: Run) -> None:
    done = run("""
        from pardata.process.launcher import fork_server
        pool = pardata.WorkerPool(1)
        pool.submit(abs, 1).result()
        os.kill(fork_server.pid, signal.SIGSTOP)
        print(list(pardata.source(range(3)).map(abs)))
        print(pool.submit(abs, -2).result())
    """)
    says(done, "[0, 1, 2]", "2")


START = {
    "a pool": "pardata.WorkerPool(1)",
    "a pool of threads": 'pardata.WorkerPool(1, kind="thread")',
    "a run": "pardata.source(range(3)).map(abs).run()",
    "a run on threads": 'pardata.source(range(3)).map(abs).run(engine="threads")',
}


@pytest.mark.parametrize("what", START)
def test_a_system_that_has_no_thread_left_is_told(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    launcher.fork_server.start()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(pardata.CapacityError, match=r"a thread of .* could not be started: .*`ulimit -u`"):
        eval(START[what])


def test_a_program_whose_working_directory_was_removed_has_workers(run: Run) -> None:
    done = run("""
        import sys, tempfile
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
        assert "" in sys.path
        with pardata.WorkerPool(1) as pool:
            print(pool.submit(abs, -2).result(), pool.submit(os.getcwd).result())
        print(list(pardata.source(range(3)).map(abs)))
    """)
    assert done.stdout.splitlines() == ["2 /", "[0, 1, 2]"], done.stderr


def test_no_signal_goes_to_a_process_id_after_its_worker_is_gone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever has become of the fork server: another process may have the number by now."""
    from pardata.process import launcher

    def refuse(pid: int, number: int) -> None:
        raise AssertionError(f"signal {number} to process {pid} by its number")

    with pardata.source(range(100_000)).map(abs).iterate() as run:
        monkeypatch.setattr(os, "kill", refuse)
        signal.pidfd_send_signal(server := os.pidfd_open(launcher.fork_server.pid or 0), signal.SIGKILL)
        os.close(server)
        assert next(run) == 0


# -- deaths with nothing to blame --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["run", "pool"])
def test_a_worker_that_is_always_killed_while_it_waits_is_not_replaced_for_ever(run: Run, kind: str) -> None:
    done = run(
        """
        import threading

        def kill_soon():
            threading.Timer(0.005, os.kill, (os.getpid(), signal.SIGKILL)).start()

        class Stage:
            def open(self):
                kill_soon()

            def __call__(self, x):
                return x

        def never():
            threading.Event().wait()
            yield 1

        try:
            if KIND == "run":
                pardata.source(never).map(Stage).run()
            else:
                pool = pardata.WorkerPool(1, initializer=kill_soon)
                while pool.is_open:
                    time.sleep(0.05)
                pool.submit(abs, 1)
        except pardata.WorkerLostError as error:
            print("10 worker processes in a row were lost while they" in str(error), "SIGKILL" in str(error))
        """.replace("KIND", repr(kind))
    )
    says(done, "True True")


# -- exit functions ----------------------------------------------------------------------------------------------------

REGISTER = """
    import atexit, concurrent.futures, multiprocessing, sys, threading, weakref

    folder = {folder!r}

    class Kept:
        pass

    def register(*_):
        global kept, executor, child
        kept = Kept()
        note = lambda what: open(f"{{folder}}/{{what}}-{{os.getpid()}}", "w").close()
        atexit.register(note, "atexit")
        weakref.finalize(kept, note, "finalize")
        executor = concurrent.futures.ThreadPoolExecutor(1)
        executor.submit(lambda: None).result()
        child = multiprocessing.get_context("fork").Process(target=threading.Event().wait, daemon=True)
        child.start()
        open(f"{{folder}}/daemon-{{child.pid}}", "w").close()

    def work(x):
        register()
        return os.getpid()

    def report(pids):
        for what in ("atexit", "finalize"):
            print(what, all(os.path.exists(f"{{folder}}/{{what}}-{{pid}}") for pid in pids))
        daemons = [name.partition("-")[2] for name in os.listdir(folder) if name.startswith("daemon-")]
        print("daemons", len(daemons) == len(pids), any(os.path.exists(f"/proc/{{pid}}") for pid in daemons))
"""

PEACEFUL = {
    "stage": "pids = set(pardata.source(range(1)).map(work))",
    "stage that a loop leaves": "with pardata.source(range(10**9)).map(work, chunksize=10**6).iterate() as it:"
    " pids = {next(it)}",
    "pool": "with pardata.WorkerPool(1) as pool: pids = {pool.submit(work, 0).result()}",
    "Pool": "with pardata.Pool(1) as pool: pids = {pool.apply(work, (0,))}; pool.close(); pool.join()",
    "worker that makes room": "with pardata.WorkerPool(1, max_tasks_per_worker=1) as pool: pids = {*pool.map(work,"
    " range(3), chunksize=1)}",
}


@pytest.mark.parametrize("how", PEACEFUL)
def test_a_worker_that_ends_in_peace_runs_pythons_exit_functions(run: Run, tmp_path: Path, how: str) -> None:
    (tmp_path / "notes").mkdir()
    code = PEACEFUL[how].replace("range(10**9)).map(work, chunksize=10**6)", "iter(range(1))).map(work)")
    done = run(textwrap.dedent(REGISTER).format(folder=str(tmp_path / "notes")) + code + "\nreport(pids)")
    says(done, "atexit True", "finalize True", "daemons True False")


def test_an_exit_function_that_never_ends_is_cut_off(run: Run) -> None:
    done = run("""
        import atexit, threading
        def work(x):
            atexit.register(threading.Event().wait)
            return x
        print(list(pardata.source(range(2)).map(work)))
        with pardata.WorkerPool(1) as pool:
            print(pool.submit(work, 3).result())
    """)
    says(done, "[0, 1]", "3")


def test_what_an_exit_function_prints_and_raises_is_seen(run: Run) -> None:
    done = run("""
        import atexit
        def work(x):
            atexit.register(print, "the end", flush=True)
            return x
        def fail(x):
            atexit.register(divmod, 1, 0)
            return x
        with pardata.WorkerPool(1) as pool:
            pool.submit(work, 3).result()
        with pardata.WorkerPool(1) as pool:
            pool.submit(fail, 3).result()
    """)
    assert done.stdout == "[pool 0] the end\n" and done.returncode == 0
    assert "ZeroDivisionError" in done.stderr and "[pool 0]" in done.stderr


# -- what a program's processes share ----------------------------------------------------------------------------------


def test_proxies_of_a_manager_of_multiprocessing_work_in_workers(run: Run) -> None:
    done = run("""
        import multiprocessing
        with multiprocessing.get_context("fork").Manager() as manager:
            seen = manager.dict()
            pardata.source(range(3)).map(lambda x: seen.update({x: x})).run()
            with pardata.WorkerPool(1) as pool:
                pool.submit(seen.update, {3: 3}).result()
            print(dict(seen))
    """)
    says(done, "{0: 0, 1: 1, 2: 2, 3: 3}")
