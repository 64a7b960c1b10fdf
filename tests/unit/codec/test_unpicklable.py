"""The part that cannot be pickled is named, from the outside in."""

import functools
import threading

import pytest

from pardata.codec.unpicklable import explain_unpicklable, is_picklable
from pardata.queue.queue import Queue

LOCK = threading.Lock()


class Camera:
    def __init__(self):
        self.name = "left"
        self.handle = threading.Lock()

    def read(self, item):
        return item


class Locked:
    """As a class of the user's script: it travels by value."""

    __module__ = "__main__"
    lock = threading.Lock()


def captures():
    lock, number = threading.Lock(), 5
    return lambda item: (item, number, lock)


def captures_an_object():
    camera = Camera()
    return lambda item: camera.read(item)


def empty_cell():
    def inner(item):
        return later, lock

    lock = threading.Lock()
    if not lock:
        later = None
    return inner


def with_default(item, lock=LOCK):
    return item


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: threading.Lock(), "it"),
        (captures, "the captured variable 'lock'"),
        (captures_an_object, "the captured variable 'camera' -> the attribute 'handle'"),
        (Camera, "the attribute 'handle'"),
        (lambda: Locked, "the attribute 'lock'"),
        (lambda: Camera().read, "its object -> the attribute 'handle'"),
        (lambda: {"a": 1, "b": [2, threading.Lock()]}, "key 'b' -> element 1"),
        (lambda: (1, {"k": (Camera(),)}), "element 1 -> key 'k' -> element 0 -> the attribute 'handle'"),
        (lambda: functools.partial(print, LOCK), "the arguments of the partial -> element 0"),
        (lambda: functools.partial(captures()), "the function of the partial -> the captured variable 'lock'"),
    ],
)  # fmt: skip
def test_culprit_is_named_with_its_path_and_type(make, path):
    culprit = make()
    assert not is_picklable(culprit)
    assert explain_unpicklable(culprit) == f"{path} is a _thread.lock, which cannot be pickled"


def test_global_variable_and_default_value_of_a_function_taken_by_value_are_named():
    """As of a function in the user's script, which no other process can import."""
    space = {"__name__": "__main__", "lock": threading.Lock()}
    exec("def uses(item):\n    return lock\ndef defaults(item, one=1, two=lock):\n    return item", space)
    assert explain_unpicklable(space["uses"]) == "the global variable 'lock' is a _thread.lock, which cannot be pickled"
    assert explain_unpicklable(space["defaults"]) == "default value 1 is a _thread.lock, which cannot be pickled"


def test_generator_is_named_as_such():
    told = "key 'rows' is a generator, which cannot be pickled, as it is a running function: send its items, as a list"
    assert explain_unpicklable({"rows": (row for row in range(3))}) == told


def test_variable_that_is_not_bound_yet_does_not_get_in_the_way():
    assert "cannot be pickled" in explain_unpicklable(empty_cell())


def test_object_that_contains_itself_is_explained():
    loop = [threading.Lock()]
    loop.insert(0, loop)
    assert "cannot be pickled" in explain_unpicklable(loop)


@pytest.mark.parametrize("obj", [5, "text", print, captures, with_default, [1, {"a": lambda x: x}]])
def test_what_can_be_pickled_by_value_is_told_apart(obj):
    assert is_picklable(obj)


def test_object_that_refuses_is_not_explained_by_its_attributes():
    made = Queue()
    kind = "pardata.queue.queue.Queue, which cannot be pickled"
    assert explain_unpicklable([made]) == f"element 0 is a {kind}"


def test_a_part_of_an_open_file_of_another_library_is_opened_in_the_function(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", data=[1, 2])
        for part in (file, data):
            told = explain_unpicklable(functools.partial(pow, part))
            assert "send its path, and call pardata.open(path, key=...) in the function" in told
