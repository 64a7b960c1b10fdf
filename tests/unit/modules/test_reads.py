"""What a function uses of the user's modules, and what it costs to ask whether that is still the same."""

import cProfile
import functools
import importlib
import pstats
import sys

import numpy as np
import pytest

from pardata.modules.look import look
from pardata.modules.names import stores_in, texts_in
from pardata.modules.reads import NOTHING

TEXT = """
import logging
import threading
import numpy as np
lock, log, table, cache = threading.Lock(), logging.getLogger("a"), np.zeros(3), {}
model = None
RATE, OPTIONS, UNUSED = 1, {"a": 1}, 2
class Config:
    LEVEL = 3
def load():
    global model
    if model is None:
        model = object()
    return model
def helper(x):
    with lock:
        log.info("x")
        cache[x] = table
        return x * RATE
def use(x):
    return helper(x), load(), OPTIONS, Config.LEVEL, np.sqrt(x)
def enclose():
    return (lambda x: helper(x)) if UNUSED else use
"""

case_chain = a = None  # a package, set by a fixture; and one that is only named


@pytest.fixture
def module(tmp_path, monkeypatch):
    many = "\n".join(f"V{n} = {n}\ndef f{n}(x): return x + V{n}" for n in range(100))
    (tmp_path / "case_reads.py").write_text(f"{TEXT}\n{many}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("case_reads")
    del sys.modules["case_reads"]


def names(reads):
    return {name for module, name in reads.sent if module == "case_reads"}


def calls(fn):
    profile = cProfile.Profile()
    profile.runcall(fn)
    return pstats.Stats(profile).total_calls


def test_plain_data_is_sent_and_what_the_function_makes_is_not(module):
    module.load()
    reads = look(module.use)
    assert names(reads) == {"RATE", "OPTIONS", "Config.LEVEL", "cache"}
    assert ("case_reads", "model") in reads.kept
    assert reads.is_same()
    module.cache["x"] = np.zeros(3)
    assert names(look(module.use)) == {"RATE", "OPTIONS", "Config.LEVEL"}


def test_what_encloses_a_function_is_no_part_of_it(module):
    assert names(look(module.enclose())) == {"RATE", "cache"}  # else each worker would import what that is about


CHANGES = [
    lambda module: setattr(module, "RATE", 2),
    lambda module: module.OPTIONS.update(b=1),
    lambda module: setattr(module.Config, "LEVEL", 4),
    lambda module: setattr(module.Config, "NEW", 4),
    lambda module: setattr(module, "helper", len),
    lambda module: setattr(module.helper, "__code__", module.load.__code__.replace(co_name="helper")),
]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_seen(module, change):
    reads = look(module.use)
    assert reads.is_same()
    change(module)
    assert not reads.is_same()
    assert look(module.use) is not reads


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("make", [lambda *fns: functools.partial(*fns), lambda *fns: list(fns)])
def test_changes_are_seen_in_an_object_of_several_functions(module, make, change):
    reads = look(make(module.f1, module.use, module.f2))
    assert reads.is_same()
    change(module)
    assert not reads.is_same()


def test_a_function_that_is_known_costs_few_calls(module):
    look(module.f1)
    assert look(module.f1) is look(module.f1)
    assert calls(look(module.f1).is_same) <= 4
    assert calls(look(module.use).is_same) <= 10
    assert len(look(module.f1).values) == 2
    assert look(np.linalg.norm) is NOTHING
    assert look(np.sqrt) is NOTHING


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "case_chain" / "sub").mkdir(parents=True)
    for name in ("__init__", "conf", "sub/__init__", "sub/deep"):
        (tmp_path / "case_chain" / f"{name}.py").write_text("A, B, C = 1, 2, 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("case_chain.sub.deep")
    yield importlib.import_module("case_chain.conf") and sys.modules["case_chain"]
    for name in [name for name in sys.modules if name.startswith("case_chain")]:
        del sys.modules[name]


def test_modules_that_are_attributes_of_packages_are_followed(package, monkeypatch):
    monkeypatch.setitem(globals(), "case_chain", package)

    def use():
        return case_chain.sub.deep.A, getattr(case_chain.conf, "B")  # noqa: B009

    reads = look(use)
    assert {("case_chain.sub.deep", "A"), ("case_chain.conf", "B")} <= reads.sent.keys()
    assert {name for _, name in reads.sent} == {"A", "B"}
    assert calls(reads.is_same) <= 4
    package.sub.deep.A = 5
    assert not reads.is_same()
    monkeypatch.setattr(package, "conf", package.sub.deep)
    assert ("case_chain", "conf") in look(use).sent


def test_texts_count_only_in_code_that_gets_attributes_by_them():
    def by_text(module):
        return [getattr(module, name) for name in ("RATE", "sub.LEVEL")], "not a name"

    def plain(module):
        return module, "RATE"

    assert {"RATE", "sub", "LEVEL", "sub.LEVEL"} == texts_in(by_text.__code__)
    assert texts_in(plain.__code__) == frozenset()


def test_the_modules_are_found_whose_attributes_code_assigns():
    def dots(value):
        a.b.X = value
        a.Y = value

    def imports(value):
        import a.b
        import a.b.c as alias
        from a import d
        from a import e as other

        a.b.X = alias.X = value
        d.X = other.X = value

    def by_setattr(value):
        value.own = 1
        setattr(a.b, "X", value)  # noqa: B010

    assert stores_in(dots.__code__) == {("a.b", "X"), ("a", "Y")}
    assert stores_in(imports.__code__) == {("a.b", "X"), ("a.b.c", "X"), ("a.d", "X"), ("a.e", "X")}
    assert stores_in(by_setattr.__code__) == {("a.b", "X")}
