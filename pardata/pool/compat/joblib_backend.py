"""joblib on pardata's workers: `register_joblib`, then ``joblib.parallel_config(backend="pardata")``.

Whatever uses joblib - scikit-learn's ``n_jobs=`` - then runs on warm worker processes, with large arrays in shared
memory: an array that many calls get is put there once.
"""

from __future__ import annotations

from pardata.errors import MissingExtraError


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

    register_parallel_backend(name, PardataBackend, make_default=make_default)
