"""Pieces in workers, and a writer of pieces that is killed in each window."""

import subprocess
import sys

import numpy as np
import pytest

import pardata
from pardata.files import read_pieces, split, write_pieces

ROWS = np.random.default_rng(0).random((200, 5))


def test_workers_open_their_pieces(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    (tmp_path / "text").write_text("".join(f"line {i}\n" for i in range(1000)))
    with pardata.WorkerPool(2) as pool:
        for obj in (ROWS, pardata.array(ROWS), ROWS.tolist(), tmp_path / "rows.npy"):
            parts = pool.map(lambda piece: np.asarray(piece.open()).sum(axis=1), split(obj, 7))
            assert np.array_equal(np.concatenate(list(parts)), ROWS.sum(axis=1))
        lines = pool.map(lambda piece: len(piece.open()), split(tmp_path / "text", 7, by="lines"))
        assert sum(lines) == 1000
        parts = pool.map(lambda piece: piece.open().sum(axis=1), write_pieces(ROWS, tmp_path / "set", 7))
        assert np.array_equal(np.concatenate(list(parts)), ROWS.sum(axis=1))


WRITER = """
import os, signal, sys
import numpy as np
from pardata.files import piece_files

folder, window = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
count = 0
put = piece_files.put_in_place
def put_in_place(part, path):
    global count
    is_manifest = path.endswith("manifest.json")
    if (window == "a piece" and count == 3) or (window == "the manifest" and is_manifest):
        die()
    put(part, path)
    count += 1
    if window == "published" and is_manifest:
        die()
if window != "never":
    piece_files.put_in_place = put_in_place
piece_files.write_pieces(np.ones((50, 5)), folder, 6)
"""


@pytest.mark.parametrize("window", ["a piece", "the manifest", "published", "never"])
def test_a_writer_of_pieces_that_is_killed_leaves_a_whole_set(tmp_path, window):
    write_pieces(ROWS, tmp_path, 5)
    done = subprocess.run([sys.executable, "-c", WRITER, tmp_path, window], check=False)
    assert done.returncode == (0 if window == "never" else -9)
    whole = np.concatenate([piece.open() for piece in read_pieces(tmp_path)])
    assert np.array_equal(whole, np.ones((50, 5)) if window in ("published", "never") else ROWS)
    write_pieces(ROWS[:10], tmp_path, 2)
    assert np.array_equal(np.concatenate([piece.open() for piece in read_pieces(tmp_path)]), ROWS[:10])
    assert len(list(tmp_path.iterdir())) == 3
