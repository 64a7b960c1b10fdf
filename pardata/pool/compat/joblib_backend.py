"""joblib on pardata's workers: `register_joblib`, then ``joblib.parallel_config(backend="pardata")``.

A library that uses joblib, as scikit-learn for ``n_jobs=``, then runs on warm worker processes. Large arrays lie in
shared memory; one that many calls get is put there once.
"""

from __future__ import annotations

from functools import partial

from pardata.errors import MissingExtraError
from pardata.pool.default import default_pool


def register_joblib(name: str = "pardata", make_default: bool = False) -> None:
    """Tell joblib of a backend of this name; with `make_default` it is used from now on.

    Raises
    ------
    MissingExtraError
        joblib is not installed.
    """
    try:
        from joblib import register_parallel_backend
    except ImportError as error:
        raise MissingExtraError('joblib is not installed: pip install "pardata[joblib]"') from error
    from pardata.pool.compat.joblib_parallel import PardataBackend

    register_parallel_backend(name, partial(PardataBackend, default_pool), make_default=make_default)
