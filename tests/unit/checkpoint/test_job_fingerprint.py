"""What a job is compared by: each change that alters results is noticed, and nothing else is taken for one."""

import argparse
import collections
import dataclasses
import datetime
import decimal
import functools
import importlib
import operator
import os
import pathlib
import re
import sys
import types
import urllib.parse

import numpy as np
import pytest

import pardata
from pardata.checkpoint import fingerprint
from pardata.checkpoint.fingerprint import digest, digest_of_array, digest_of_items

Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass(slots=True)
class Slotted:
    a: int


class Kin(list):
    pass


class Rows(collections.abc.Sequence):
    """Rows that are made when they are asked for."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, at):
        return len(self.paths[at])


class Twice:
    """A descriptor that is neither a property nor a function."""

    def __init__(self, factor):
        self.factor = factor

    def __get__(self, instance, owner):
        return self.factor


def with_descriptor(factor):
    return type("Described", (), {"__module__": __name__, "level": Twice(factor)})


def plus(number):
    return lambda item: item + number


def with_attribute(value):
    def fn(item):
        return item + fn.offset

    fn.offset = value
    return fn


def changed(values):
    other = list(values)
    other[len(other) // 2 + 1] = other[0]
    return values, other


PAIRS = {
    "a slot": (Slotted(1), Slotted(2)),
    "a named tuple": (Pair(1, 2), Pair(1, 3)),
    "a list of a class of its own": (Kin([1]), Kin([2])),
    "a named tuple of a library": (urllib.parse.urlsplit("a"), urllib.parse.urlsplit("b")),
    "a path": (pathlib.Path("a"), pathlib.Path("b")),
    "arguments of a command": (argparse.Namespace(a=1), argparse.Namespace(a=2)),
    "a name space": (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
    "a proxy": (types.MappingProxyType({"a": 1}), types.MappingProxyType({"a": 2})),
    "a date": (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)),
    "a decimal": (decimal.Decimal(1), decimal.Decimal(2)),
    "a pattern": (re.compile("a"), re.compile("b")),
    "a getter": (operator.itemgetter(1), operator.itemgetter(2)),
    "a dictionary with a default": (
        collections.defaultdict(int, {"a": 1}),
        collections.defaultdict(int, {"a": 2}),
    ),
    "a deque": (collections.deque([1]), collections.deque([2])),
    "bytes in memory": (memoryview(b"a"), memoryview(b"b")),
    "a dtype": (np.dtype("f4,i4"), np.dtype("f4,i8")),
    "a polynomial": (np.polynomial.Polynomial([1, 2]), np.polynomial.Polynomial([1, 3])),
    "a vectorized function": (np.vectorize(plus(1)), np.vectorize(plus(2))),
    "what a function has captured": (plus(1), plus(2)),
    "a method of a dictionary": ({"a": 1}.get, {"a": 2}.get),
    "a method of an array": (np.zeros(3).__getitem__, np.ones(3).__getitem__),
    "a method of a pattern": (re.compile("a").sub, re.compile("b").sub),
    "a descriptor": (with_descriptor(2), with_descriptor(3)),
    "an attribute of a function": (with_attribute(1), with_attribute(2)),
    "a mask": (np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 2], [0, 0])),
    "one of many numbers": changed(list(range(300_000))),
    "one of many tuples": changed([(str(number), number) for number in range(5000)]),
    "one of many paths": changed([pathlib.Path(str(number)) for number in range(3000)]),
    "one of many arrays": changed([np.full(3, number) for number in range(3000)]),
}


@pytest.mark.parametrize("what", PAIRS)
def test_a_change_is_noticed(what):
    one, other = PAIRS[what]
    assert digest(one) != digest(other) and digest(one) == digest(one)
    assert digest(functools.partial(max, one)) != digest(functools.partial(max, other))


def test_each_entry_of_an_array_counts():
    for shape in [(400_000,), (3, 200_000), (300_000, 1), (2, 3, 100_000)]:
        array = np.zeros(shape)
        before = digest_of_array(array)
        for at in (0, array.size // 3, array.size - 1):
            array.flat[at] = 1
            assert digest_of_array(array) != before, (shape, at)
            array.flat[at] = 0
        assert digest_of_array(array) == before
        assert digest_of_array(np.asfortranarray(array)) == before


def test_of_what_is_too_large_samples_count(monkeypatch):
    monkeypatch.setattr(fingerprint, "_MOST_BYTES", 1 << 20)
    monkeypatch.setattr(fingerprint, "_MOST_OBJECTS", 1000)
    array = np.zeros((200, 100_000))
    paths = [pathlib.Path(str(number)) for number in range(5000)]
    before = digest(array), digest(paths)
    array[-1], paths[-1] = 1, pathlib.Path("x")
    assert digest(array) != before[0] and digest(paths) != before[1]


def test_a_global_counts_where_it_is_used_and_not_where_an_attribute_has_its_name():
    def made(**scope):
        source = "def fn(item):\n    import mode\n    class Inner:\n        kept = level\n    return item.size"
        exec(source, scope)
        return digest(scope["fn"])

    before = made(__name__="__main__", level=1, size=1, mode=1)
    assert made(__name__="__main__", level=1, size=2, mode=2) == before
    assert made(__name__="__main__", level=2, size=1, mode=1) != before


def test_parts_of_a_mapped_file_are_not_each_other(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((20, 3)))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert digest_of_array(rows[:10]) == digest_of_array(rows[:10])
    assert len({digest_of_array(part) for part in (rows[:10], rows[10:], rows[::2])}) == 3
    before = digest_of_array(rows), digest(plus(rows))
    os.utime(tmp_path / "rows.npy", (1, 1))
    assert digest_of_array(rows) != before[0] and digest(plus(rows)) != before[1]


def test_a_sequence_that_makes_its_entries_counts_by_its_attributes():
    one, other = ([f"{number:05}" for number in range(5000)] for _ in range(2))
    other[77] = "xxxxx"
    assert digest_of_items(Rows(one)) != digest_of_items(Rows(other))
    assert digest_of_items(Rows(one)) == digest_of_items(Rows(list(one)))


def test_handles_count_by_what_they_lead_to(tmp_path):
    """Those of pardata change when they are used, and a table lies elsewhere each time."""
    contents = {number: -number for number in range(9)}
    with pardata.PagedFile.create(tmp_path / "rows", page_bytes=80) as writer:
        writer.extend(np.arange(30.0))
    pardata.Database.create(tmp_path / "a.db", contents).close()
    for make in (
        lambda: pardata.PagedFile(tmp_path / "rows"),
        lambda: pardata.Database(tmp_path / "a.db", frozen=True),
        lambda: pardata.Database(tmp_path / "a.db"),
        lambda: pardata.Table(contents),
    ):
        with make() as one, make() as other:
            before = digest(plus(one))
            assert one[3] == other[3] and digest(plus(one)) == before == digest(plus(other))
    with pardata.Table(contents) as one, pardata.Table({**contents, 3: 3}) as other:
        assert digest(one) != digest(other)


def test_the_modules_that_a_function_uses_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = tmp_path / "lab_of_mine"
    (folder / "sub").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "sub/__init__.py": "",
        "sub/filters.py": "def denoise(x): return x + 1",
        "late.py": "from lab_of_mine.later import LEVEL\ndef f(x): return x + LEVEL",
        "later.py": "LEVEL = 1",
        "near.py": "def f(x): return x + 1",
        "job.py": "import lab_of_mine.sub.filters\n"
        "def attribute(x): return lab_of_mine.sub.filters.denoise(x)\n"
        "def inside(x):\n    from lab_of_mine.late import f\n    return f(x)\n"
        "def module(x):\n    from lab_of_mine.sub import filters\n    return filters.denoise(x)\n"
        "def relative(x):\n    from .near import f\n    return f(x)\n",
    }

    def digests():
        for name in [name for name in sys.modules if name.partition(".")[0] == "lab_of_mine"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        job = importlib.import_module("lab_of_mine.job")
        found = {name: digest(getattr(job, name)) for name in ("attribute", "inside", "module", "relative")}
        assert "lab_of_mine.late" not in sys.modules
        return found

    for name, text in files.items():
        (folder / name).write_text(text)
    before = digests()
    assert digests() == before
    for name, who in [
        ("sub/filters.py", {"attribute", "module"}),
        ("later.py", {"inside"}),
        ("near.py", {"relative"}),
    ]:
        (folder / name).write_text(files[name].replace("1", "22"))
        now = digests()
        assert {each for each in now if now[each] != before[each]} == who
        (folder / name).write_text(files[name])
