"""Libraries without a variable are told their threads when a worker has loaded them. Here by stand-ins for them."""

import importlib
import pickle
import sys

import pytest

from pardata.runtime.thread_calls import tell_threads

BLOSC2 = """
import types
told = []
numexpr = types.SimpleNamespace(set_num_threads=lambda cores: told.append(("numexpr", cores)))
def set_nthreads(cores): told.append(("blosc", cores))
"""
DUCKDB = """
class Error(Exception): pass
class Connection:
    def __init__(self, name, config=None): self.name, self.config, self.told = name, config or {}, []
    def execute(self, query):
        if "lock_configuration" in self.config: raise Error
        self.told.append(query)
first = Connection("first")
def default_connection(): return first
def connect(database=":memory:", read_only=False, config=None): return Connection(database, config)
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that has a library of some text loaded by a worker with three cores, and returns it."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(name, text, given=()):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
        monkeypatch.setitem(sys.modules, name, None)  # what it was before is there again afterwards
        del sys.modules[name]
        importlib.invalidate_caches()
        tell_threads(3, dict.fromkeys(given, "7"))
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), [("numexpr", 3), ("blosc", 3)]),
        (("NUMEXPR_NUM_THREADS",), [("blosc", 3)]),
        (("BLOSC_NTHREADS",), [("numexpr", 3)]),
    ],
)
def test_blosc2_and_its_numexpr_have_the_share_unless_the_user_says_otherwise(load, given, told):
    assert load("blosc2", BLOSC2, given).told == told


def test_each_database_of_duckdb_has_the_share_unless_its_configuration_says_otherwise(load):
    duckdb = load("duckdb", DUCKDB)
    limited = ["SET threads = 3"]
    assert duckdb.default_connection().told == limited
    assert duckdb.connect("x", config={"memory_limit": "1GB"}).told == duckdb.connect().told == limited
    assert duckdb.connect("x", config={"threads": 5}).told == duckdb.connect("x", False, {"threads": 5}).told == []
    assert duckdb.connect(config={"lock_configuration": True}).told == []
    assert pickle.loads(pickle.dumps(duckdb.connect)) is duckdb.connect


def test_a_library_without_the_call_is_loaded_as_it_is(load):
    module = load("blosc2", "told = 1")
    assert module.told == 1 and module.__spec__.loader.get_data(module.__file__) == b"told = 1"


def test_a_library_that_is_not_installed_is_not_found(load, monkeypatch):
    load("blosc2", BLOSC2)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "duckdb", raising=False)
    with pytest.raises(ModuleNotFoundError, match="duckdb"):
        importlib.import_module("duckdb")
