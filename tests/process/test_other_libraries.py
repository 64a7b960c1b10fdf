"""Libraries that take a pool take pardata's. The extra `test` has them on the oldest Python alone."""

import numpy as np
import pytest

import pardata
from pardata.pool.default import shutdown


@pytest.fixture
def pool():
    with pardata.Pool(2) as pool:
        yield pool


def test_scipy_takes_a_pool_as_workers(pool):
    optimize = pytest.importorskip("scipy.optimize")

    def solve(workers):
        return optimize.differential_evolution(
            optimize.rosen, [(0, 2)] * 2, workers=workers, updating="deferred", rng=1, maxiter=4, polish=False
        )

    assert np.array_equal(solve(pool).x, solve(map).x)
    assert np.array_equal(solve(pool.executor.map).x, solve(map).x)


def test_emcee_takes_a_pool(pool):
    emcee = pytest.importorskip("emcee")

    def log_probability(x):
        return -0.5 * np.sum(x**2)

    start = np.random.default_rng(0).normal(size=(8, 2))
    chains = []
    for given in (pool, None):
        sampler = emcee.EnsembleSampler(8, 2, log_probability, pool=given)
        sampler.random_state = np.random.RandomState(0).get_state()
        sampler.run_mcmc(start, 10)
        chains.append(sampler.get_chain())
    assert np.array_equal(*chains)


def test_dask_takes_a_pool_as_scheduler(pool):
    dask = pytest.importorskip("dask")

    total = dask.delayed(sum)([dask.delayed(pow)(n, 2) for n in range(10)])
    assert total.compute(scheduler=pool.executor) == 285
    with dask.config.set(scheduler=pool.executor):
        assert dask.compute(total, dask.delayed(lambda: 2)()) == (285, 2)


def test_dynesty_takes_a_pool(pool):
    dynesty = pytest.importorskip("dynesty")

    def log_likelihood(x):
        return -0.5 * np.sum(x**2)

    evidence = []
    for options in ({"pool": pool}, {"pool": pool.executor}, {}):  # queue_size is taken from pool.size
        queue = {} if options else {"queue_size": 1}
        sampler = dynesty.NestedSampler(
            log_likelihood, lambda u: 4 * u - 2, 2, nlive=20, rstate=np.random.default_rng(0), **options, **queue
        )
        sampler.run_nested(dlogz=2, print_progress=False)
        evidence.append(sampler.results.logz[-1])
    assert np.isfinite(evidence).all()
    assert evidence[0] == evidence[1]  # as many workers, the same queue; without a pool the order of calls differs


def test_joblib_and_scikit_learn_run_on_pardata():
    joblib, datasets = pytest.importorskip("joblib"), pytest.importorskip("sklearn.datasets")
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import SVC

    pardata.register_joblib()
    values = np.arange(300_000.0)  # large enough to be shared
    X, y = (each[:300] for each in datasets.load_digits(return_X_y=True))

    def nested(n):
        return sum(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(n) for _ in range(2)))

    try:
        expected = cross_val_score(SVC(), X, y, cv=3)
        with joblib.parallel_config(backend="pardata"):
            assert joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(n, 2) for n in range(300)) == [
                n**2 for n in range(300)
            ]
            unordered = joblib.Parallel(n_jobs=3, return_as="generator_unordered")
            assert sorted(unordered(joblib.delayed(abs)(n) for n in range(50))) == list(range(50))
            told = joblib.Parallel(n_jobs=2)(
                joblib.delayed(lambda a: (a.sum(), a.flags.writeable))(values) for _ in "ab"
            )
            assert told == [(values.sum(), False)] * 2
            with pytest.raises(ZeroDivisionError):
                joblib.Parallel(n_jobs=2)(joblib.delayed(divmod)(1, n) for n in (2, 1, 0, 3))
            assert joblib.Parallel(n_jobs=2)(joblib.delayed(nested)(n) for n in range(3)) == [0, 2, 4]
            assert np.array_equal(cross_val_score(SVC(), X, y, cv=3, n_jobs=2), expected)
    finally:
        shutdown()
