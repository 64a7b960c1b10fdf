import numpy as np
import pytest

import pardata
from pardata.memory import data_pointer
from pardata.memory.array import find_anchor

ARRAYS = {
    "own memory": lambda: np.arange(10),
    "a view": lambda: np.arange(10)[3:],
    "backwards": lambda: np.zeros((3, 4))[::-1, ::-2],
    "no entries": lambda: np.empty((0, 3)),
    "no axes": lambda: np.array(7.0),
    "read-only": lambda: np.frombuffer(b"0123456789", "u1")[1:],
    "a subclass": lambda: np.ma.masked_array([1, 2, 3]),
    "shared": lambda: pardata.zeros((5, 5))[2:],
    "an anchor": lambda: find_anchor(pardata.zeros(5)),
    "records": lambda: np.zeros(3, "i4,f8")["f1"],
}


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("is_known", [True, False])
def test_address_is_the_one_that_numpy_tells(make, is_known, monkeypatch):
    if not is_known:
        monkeypatch.setattr(data_pointer, "_head", None)
    array = make()
    assert data_pointer.data_pointer(array) == array.__array_interface__["data"][0]


def test_head_of_an_object_is_known_on_this_interpreter():
    assert data_pointer._head is not None
