"""The writer of a file, when the run before has begun the file."""

import os

import numpy as np

from pardata.pipeline.npy_writer import NpyWriter


def test_a_file_that_was_begun_is_not_removed_before_it_is_begun_again(tmp_path, monkeypatch):
    part = f"{tmp_path}/x.begun"
    assert list(NpyWriter(f"{tmp_path}/x.npy", part)(iter([1, 2, 3, 4]))) == []
    monkeypatch.delattr(os, "unlink")  # a kill behind it would leave a checkpoint without its file
    assert list(NpyWriter(f"{tmp_path}/x.npy", part)(iter([1.5]))) == []
    assert np.load(part).tolist() == [1.5] and os.listdir(tmp_path) == ["x.begun"]
