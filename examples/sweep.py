"""A grid search of scikit-learn on pardata's workers: two lines more, and the data are shared instead of copied.

Handwritten digits (they come with scikit-learn) are classified with every pair of two parameters, cross-validated;
once on the workers that joblib starts by itself, and once on pardata's. Both find the same.

    pip install -e ".[joblib]" scikit-learn
    python examples/sweep.py --workers 4
"""

import argparse
import time

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import pardata


def search(workers, folds, count):
    """The fitted search over a 4 x 4 grid."""
    digits, labels = load_digits(return_X_y=True)
    grid = {"C": [0.1, 1, 10, 100], "gamma": [1e-4, 3e-4, 1e-3, 3e-3]}
    return GridSearchCV(SVC(), grid, cv=folds, n_jobs=workers).fit(digits[:count], labels[:count])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--digits", type=int, default=1797, help="how many of the 1,797 digits")
    options = parser.parse_args()

    pardata.register_joblib()
    best = {}
    for backend in ("loky", "pardata"):
        for run in ("first", "second"):  # the first one starts the workers
            with joblib.parallel_config(backend=backend):
                begin = time.perf_counter()
                found = search(options.workers, options.folds, options.digits)
                print(f"{backend:8} {run:6} {time.perf_counter() - begin:6.2f} s")
        best[backend] = found.best_params_, found.best_score_
    assert best["loky"] == best["pardata"]
    parameters, score = best["pardata"]
    print(f"best of both: {parameters}, {score:.1%} right")


if __name__ == "__main__":
    main()
