"""What the source of a module says of its attributes, and whether its code is that of the file."""

import importlib
import sys
import types

import pytest

from pardata.modules.source import ModuleSource

TEXT = """
import os
import json as coder
from math import sqrt
from fractions import *

NONE = None
NUMBER: int = 1 << 10
NEGATIVE = -2.5
WORDS = ["a", "b"]
NESTED = {"a": [1, (2, 3)]}
COMPUTED = os.getpid()
TWICE = 1
TWICE = 2
LEFT, RIGHT = 1, 2
if NUMBER:
    WITHIN = None
try:
    TRIED = None
except ValueError as CAUGHT:
    pass
for LOOP in range(3):
    pass
match NUMBER:
    case BOUND:
        pass

def plain(x): return x

@staticmethod
def decorated(x): return x

class Kind:
    def method(self): return 1
    @property
    def prop(self): return 2
    class Inner:
        def method(self): return 3
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def load_(text, name="case_source"):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    yield load_
    sys.modules.pop("case_source", None)


def foreign(x):
    return x


@pytest.mark.parametrize(
    ("name", "value", "is_otherwise"),
    [
        ("NONE", object(), True),
        ("NUMBER", object(), True),
        ("NEGATIVE", object(), True),
        ("WORDS", [object()], False),  # it may be a cache that was filled
        ("WORDS", {object()}, True),
        ("NESTED", {"a": object()}, False),
        ("COMPUTED", object(), False),
        ("TWICE", object(), False),
        ("LEFT", object(), False),
        ("WITHIN", object(), False),
        ("TRIED", object(), False),
        ("CAUGHT", object(), False),
        ("LOOP", object(), False),
        ("BOUND", object(), False),
        ("os", object(), False),
        ("coder", object(), False),
        ("sqrt", object(), False),
        ("plain", foreign, True),
        ("decorated", foreign, False),
        ("Kind", foreign, True),
        ("unknown", object(), False),  # there is an `import *`
        ("__dunder__", object(), False),
    ],
)
def test_what_a_source_says(load, name, value, is_otherwise):
    assert ModuleSource(load(TEXT)).says_otherwise(name, value) is is_otherwise


def test_names_that_a_source_does_not_have(load):
    source = ModuleSource(load("A = 1\ndef f():\n    global B\n    B = 2"))
    assert source.says_otherwise("unknown", object())
    assert not source.says_otherwise("submodule", types.ModuleType("case_source.submodule"))
    assert not source.says_otherwise("B", object())
    assert not source.says_otherwise("f", source.module.f)
    for way in ("globals()['unknown'] = 1", "exec('unknown = 1')", "def __getattr__(name): return 1"):
        assert not ModuleSource(load(way)).says_otherwise("unknown", object())


def test_methods(load):
    source = ModuleSource(load(TEXT))
    assert source.defines("Kind.method")
    assert source.defines("Kind.Inner.method")
    assert not source.defines("Kind.prop")
    assert not source.defines("plain")


def test_code_of_the_file_and_other_code(load, tmp_path):
    text = (
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int = 0\ndef f(): return 'old'\ng = lambda: 1\n"
    )
    module = load(text)
    source = ModuleSource(module)
    assert not source.refresh()
    for function in (module.f, module.g, module.P.__init__):
        assert source.is_as_imported(function)
    assert not source.is_as_imported(foreign)
    module.f.__code__ = foreign.__code__
    assert not source.is_as_imported(module.f)
    (tmp_path / "case_source.py").write_text(text.replace("old", "newer"))
    assert source.refresh()
    assert source.edited
    assert not source.is_as_imported(module.g)  # a worker may have imported either


def test_a_file_that_is_gone(load, tmp_path):
    source = ModuleSource(load("def f(): return 1"))
    (tmp_path / "case_source.py").unlink()
    assert source.refresh()
    assert source.edited
