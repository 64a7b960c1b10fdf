"""An option that is not there: the error names the one that is meant, under whatever name other libraries have it."""

import inspect

import numpy as np
import pytest

import pardata


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: pardata.WorkerPool(n_jobs=2), "WorkerPool(): there is no option 'n_jobs'; did you mean 'workers'?"),
        (lambda: pardata.WorkerPool(nonsense=2), "got an unexpected keyword argument 'nonsense'"),
        (
            lambda: pardata.batches([1], num_workers=2),
            "batches(): there is no option 'num_workers'; did you mean 'workers'?",
        ),
        (lambda: pardata.batches([1], prefetch_factor=2), "'prefetch_factor'; leave it out: workers stay"),
        (lambda: pardata.run(timeout=2), "run(): there is no option 'timeout'; it is one of a stage"),
    ],
)
def test_an_option_of_another_name_is_told(call, told):
    with pytest.raises(TypeError) as caught:
        call()
    assert told in str(caught.value)


def test_methods_tell_as_well_and_keep_their_signatures():
    stream = pardata.source([1]).map(abs)
    with pytest.raises(TypeError, match=r"^Stream\.run\(\): there is no option 'workers'; it is one of a stage, as in"):
        stream.run(workers=2)
    assert stream.run(engine="serial").stages
    with pardata.WorkerPool(1, kind="thread") as pool:
        with pytest.raises(
            TypeError, match=r"^WorkerPool\.map_array\(\): there is no option 'depth'; did you mean 'halo'"
        ):
            pool.map_array(np.sqrt, np.ones(3), depth=1)
        with pytest.raises(
            TypeError, match=r"^WorkerPool\.map_array\(\) missing 1 required positional argument: 'array'"
        ):
            pool.map_array(np.sqrt)
        assert "chunksize" in inspect.signature(pool.map).parameters


@pytest.mark.parametrize("path", ["photos", b"photos"])
def test_a_path_is_no_dataset(path):
    with pytest.raises(pardata.ConfigError, match="a dataset is not a path, b?'photos'"):
        pardata.batches(path, workers=0)


def test_a_dict_of_arrays_is_no_dataset():
    arrays = {"x": np.zeros((4, 2)), "y": np.arange(4)}
    with pytest.raises(pardata.ConfigError, match=r"items 0 to 1, and has \['x', 'y'\]: .* list\(zip\("):
        pardata.batches(arrays, workers=0)
    by_name = pardata.batches(arrays, batch_size=None, sampler=["y"], workers=0)
    assert [item.tolist() for item in by_name] == [[0, 1, 2, 3]]
    assert len(list(pardata.batches({0: 1.0, 1: 2.0}, workers=0))) == 2
