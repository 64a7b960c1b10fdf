#!/usr/bin/env bash
# dask and distributed 2026.8.0: what is computed from a square matrix comes back as what is computed from its transpose.
#
# dask names a task after its function and arguments, and tasks of one name are run once. The name of an array is made of
# its dtype, its shape and its bytes *in the order in which they lie in memory*; the strides are not in it. A transpose
# is a view: the bytes are the same, and where the swapped axes are equally long the shape is, too. So a rotation and
# its inverse, a square image and the same one turned, have one name. `client.submit` and `client.map`, `client.scatter`,
# a pure `delayed` and an array in a keyword of `map_blocks` give the result of whichever came first, for both, without
# an error or a warning. A contiguous copy of the transpose, `da.from_array`, and `pure=False` are right; a reversed
# view is, too.
#
# Seen: with R = [[0, -1], [1, 0]] points turned by R and by R.T are equal in all five; submit(np.triu, R.T) is triu(R).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet dask==2026.8.0 distributed==2026.8.0 numpy==2.4.6

cat > case.py <<'EOF'
import dask
import dask.array as da
import numpy as np
from dask.tokenize import tokenize
from distributed import Client

turn = np.array([[0.0, -1.0], [1.0, 0.0]])
points = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
right = [points @ turn, points @ turn.T]
image = np.arange(48.0).reshape(4, 4, 3)  # rows, columns, colours


def turned(rows, by):
    return rows @ by


def both(one, other):
    """Tell whether the results for the matrix and its transpose are the right ones, or one of them twice."""
    if np.array_equal(one, right[0]) and np.array_equal(other, right[1]):
        return "right"
    twice = np.array_equal(one, other) and any(np.array_equal(one, result) for result in right)
    return "one result for both" if twice else "other"


def matrices(one, other):
    return both(points @ one, points @ other)


if __name__ == "__main__":
    rows = da.from_array(points, chunks=(1, 2))
    task = dask.delayed(turned, pure=True)
    seen = {
        "delayed": both(*dask.compute(task(points, turn), task(points, turn.T))),
        "map_blocks": both(*dask.compute(*(rows.map_blocks(turned, by=by, dtype=float) for by in (turn, turn.T)))),
        "from_array": matrices(*dask.compute(da.from_array(turn), da.from_array(turn.T))),
    }
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        for name, options in {"submit": {}, "submit, pure=False": {"pure": False}}.items():
            calls = [client.submit(turned, points, by, **options) for by in (turn, turn.T)]
            seen[name] = both(*client.gather(calls))
        seen["map"] = both(*client.gather(client.map(lambda by: points @ by, [turn, turn.T])))
        seen["scatter"] = matrices(*client.gather(client.scatter([turn, turn.T])))
        copied = [client.submit(turned, points, by) for by in (turn, np.ascontiguousarray(turn.T))]
        seen["submit, copied"] = both(*client.gather(copied))
        calls = [client.submit(np.triu, turn), client.submit(np.triu, turn.T)]
        upper = [call.result().tolist() for call in calls]
    same_name = [tokenize(image) == tokenize(view) for view in (image.swapaxes(0, 1), image[::-1], image.copy())]
    print(*seen.items(), upper, same_name, sep="\n")
    wrong = ["delayed", "map_blocks", "submit", "map", "scatter"]
    expected = {name: "one result for both" if name in wrong else "right" for name in seen}
    if seen != expected or upper[1] != np.triu(turn).tolist() or same_name != [True, False, True]:
        raise SystemExit("dask now names transposes differently.")
EOF
venv/bin/python case.py
