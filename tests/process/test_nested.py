"""Parallelism within a worker: pools, runs and other libraries see the worker's share of the cores."""

import concurrent.futures
import importlib
import importlib.util
import multiprocessing
import os
import subprocess
import sys

import joblib
import pytest
import threadpoolctl

import pardata
from pardata.pool.default import default_pool
from pardata.runtime import library_limits
from pardata.runtime.library_limits import limit_thread, usable_cores

COUNTERS = {
    "polars": lambda polars: polars.thread_pool_size(),
    "pyarrow": lambda pyarrow: pyarrow.cpu_count(),
    "cv2": lambda cv2: cv2.getNumThreads(),
    "SimpleITK": lambda sitk: sitk.MedianImageFilter().GetNumberOfThreads(),
    "blosc2": lambda blosc2: blosc2.nthreads,
    "numexpr": lambda numexpr: numexpr.get_num_threads(),  # also where blosc2 has set it
    "tifffile": lambda tifffile: tifffile.TIFF.MAXWORKERS,
    "duckdb": lambda duckdb: duckdb.sql(THREADS_OF_DUCKDB).fetchall()[0][0],
}
THREADS_OF_DUCKDB = "SELECT current_setting('threads')"
INSTALLED = {name: counter for name, counter in COUNTERS.items() if importlib.util.find_spec(name)}
LIMITS = (*library_limits.THREAD_VARIABLES, "PYTHON_CPU_COUNT")


@pytest.fixture(autouse=True)
def twelve_cores(monkeypatch):
    """Let this thread be one that may use twelve cores, and the user's environment say nothing of threads."""
    for variable in LIMITS:
        monkeypatch.delenv(variable, raising=False)
    limit_thread(12)
    yield
    library_limits._share_of_thread.set(None)


def counted():
    """Count the cores in each way that users and libraries do."""
    with pardata.WorkerPool(kind="thread") as pool, concurrent.futures.ThreadPoolExecutor() as executor:
        own, of_python = pool.workers, executor._max_workers - 4
    return {
        "pardata": usable_cores(),
        "a pool": own,
        "os": os.cpu_count(),
        "os.process": os.process_cpu_count() if sys.version_info >= (3, 13) else os.cpu_count(),
        "multiprocessing": multiprocessing.cpu_count(),
        "threads of concurrent.futures": of_python,
        "joblib": joblib.effective_n_jobs(-1),
        "joblib on pardata": _jobs_on_pardata(),
        "BLAS": max(library["num_threads"] for library in threadpoolctl.threadpool_info()),
        **{name: counter(importlib.import_module(name)) for name, counter in INSTALLED.items()},
        "a Python started here": _cores_of_a_child(),
    }


def _jobs_on_pardata():
    pardata.register_joblib()
    with joblib.parallel_config("pardata"):
        return joblib.effective_n_jobs(-1)


def _cores_of_a_child():
    if sys.version_info < (3, 13):  # there is no way to tell it
        return os.cpu_count()
    return int(subprocess.check_output([sys.executable, "-c", "import os; print(os.process_cpu_count())"]))


def nested():
    """Return what a worker counts, and what a worker of a run in it counts."""
    (inner,) = pardata.source([0]).map(lambda _: counted(), workers=2)
    return counted(), inner


def test_all_that_counts_cores_in_a_worker_counts_its_share():
    limit_thread(4)
    with pardata.WorkerPool(2) as pool:
        found = pool.submit(nested).result()
    for counts, share in zip(found, (2, 1), strict=True):
        by_joblib = counts.pop("joblib")  # never more than there are
        assert by_joblib == min(share, len(os.sched_getaffinity(0)))
        assert counts == dict.fromkeys(counts, share)


@pytest.mark.parametrize(("engine", "share"), [("serial", 12), ("threads", 3), ("processes", 4)])
def test_pools_in_a_stage_have_as_many_workers_as_its_share(engine, share):
    stream = pardata.source([0]).map(lambda _: usable_cores(), workers=3)  # threads: the source is one, too
    with stream.iterate(engine=engine) as run:
        assert next(run) == share


def test_threads_of_a_pool_and_of_a_stage_have_their_shares():
    with pardata.WorkerPool(6, kind="thread") as pool:
        assert pool.submit(usable_cores).result() == 2
    (share,) = pardata.source([0]).map(lambda _: usable_cores(), kind="thread").map(int, workers=5)
    assert share == 2
    assert usable_cores() == 12


def test_the_default_pool_of_a_worker_with_one_core_is_a_thread():
    with pardata.WorkerPool(12) as pool:
        kind = pool.submit(lambda: (default_pool().kind, default_pool().workers)).result()
    assert kind == ("thread", 1)


def test_what_the_user_says_of_threads_holds_in_workers_of_workers(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("PYTHON_CPU_COUNT", "7")  # of cores, not of threads: a worker has a part of them
    names = ("OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS", "PYTHON_CPU_COUNT")

    def look():
        return [os.environ.get(name) for name in names]

    def look_deeper():
        with pardata.WorkerPool(2) as pool:
            return look(), pool.submit(look).result()

    told = sys.version_info >= (3, 13)
    with pardata.WorkerPool(3) as pool:
        outer, inner = pool.submit(look_deeper).result()
    assert outer == ["5", "4", "4" if told else "7"]
    assert inner == ["5", "2", "2" if told else "7"]


def with_multiprocessing():
    with multiprocessing.Pool() as pool:
        return pool._processes, pool.map(abs, [-1, -2])


def with_concurrent_futures():
    with concurrent.futures.ProcessPoolExecutor() as pool:
        return pool._max_workers, list(pool.map(abs, [-1, -2]))


def with_joblib():
    return joblib.effective_n_jobs(-1), joblib.Parallel(n_jobs=-1)(joblib.delayed(abs)(x) for x in [-1, -2])


def with_threads():
    with multiprocessing.pool.ThreadPool() as pool:
        return pool._processes, pool.map(abs, [-1, -2])


WAYS = (with_multiprocessing, with_concurrent_futures, with_joblib, with_threads)


def test_pools_of_other_libraries_work_in_a_worker():
    with pardata.WorkerPool(6) as pool:
        for way in WAYS:
            cores, results = pool.submit(way).result()
            assert (cores <= 2, results) == (True, [1, 2])
    stream = pardata.source(WAYS[:2]).map(lambda way: way(), workers=6)
    assert list(stream) == [(2, [1, 2])] * 2
