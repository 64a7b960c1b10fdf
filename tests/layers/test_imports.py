"""A file imports only from the layers above it, and no file imports itself over others. Read from the sources.

The layers and the pure files are listed in `tests/layers/layers.py`, from which docs/architecture.md is made too.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.layers.layers import LAYERS, PURE, TOP

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "pardata").rglob("*.py"))

LEVELS = {layer: level for level, layers in enumerate([*LAYERS, *TOP]) for layer in layers}
STRANGERS = {(one, other) for layers in LAYERS for one in layers for other in layers if one != other}

PROCESSES = {"os", "signal", "subprocess", "multiprocessing", "threading", "queue", "asyncio"}
IMPURE = PROCESSES | {"socket", "select", "selectors", "mmap", "time"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text(), str(path)) for path in FILES}


def layer_of(module):
    """The package, or the file, directly below pardata; "" for pardata itself."""
    return module.partition(".")[2].partition(".")[0]


def imported(node, module):
    """The modules that an import statement of `module` names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module}, line {node.lineno}: imports are absolute"
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in MODULES else node.module for name in names]
    return []


def imports(module):
    """Yield (imported module, line, whether it is within a function)."""
    waiting = [(MODULES[module], False)]
    while waiting:
        node, is_late = waiting.pop()
        for name in imported(node, module):
            yield name, node.lineno, is_late
        is_late = is_late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        waiting += [(child, is_late) for child in ast.iter_child_nodes(node)]


def own_imports(module):
    return [found for found in imports(module) if found[0].partition(".")[0] == "pardata"]


def is_allowed(module, other):
    here, there = layer_of(module), layer_of(other)
    return LEVELS[there] <= LEVELS[here] and (here, there) not in STRANGERS


def test_every_file_belongs_to_a_layer():
    assert FILES
    assert {layer_of(module) for module in MODULES} <= set(LEVELS)


def test_files_import_only_from_layers_above_them():
    found = {module: [one for one in own_imports(module) if not is_allowed(module, one[0])] for module in MODULES}
    assert {module: wrong for module, wrong in found.items() if wrong} == {}


def test_no_file_imports_itself_over_others():
    """Also not within functions."""
    graph = {module: {other for other, _, _ in own_imports(module)} - {"pardata"} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", PURE)
def test_pure_file_does_no_io(module):
    assert [name for name, _, _ in imports(f"pardata.{module}") if name.partition(".")[0] in IMPURE] == []


def test_errors_import_nothing_of_the_package():
    assert own_imports("pardata.errors") == []


# -- the checks themselves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "other", "allowed"),
    [
        ("pardata.memory.arena", "pardata.errors", True),
        ("pardata.memory.arena", "pardata.memory.segment", True),
        ("pardata.memory.arena", "pardata.channel.channel", False),
        ("pardata.codec.picklers", "pardata.channel.channel", False),
        ("pardata.pool.pool", "pardata.pipeline.plan.plan", False),
        ("pardata.pipeline.plan.plan", "pardata.pool.pool", False),
        ("pardata.engines.serial", "pardata.pipeline.plan.plan", True),
        ("pardata.pipeline.stream", "pardata.engines.serial", False),
        ("pardata.channel.channel", "pardata", False),
        ("pardata", "pardata.pipeline.stream", True),
    ],
)
def test_what_is_allowed(module, other, allowed):
    assert is_allowed(module, other) is allowed


def test_imports_are_found_wherever_they_stand(monkeypatch):
    source = "import os.path\nfrom pardata.errors import A, B\ndef f():\n class C:\n  import pardata.memory.arena as h"
    monkeypatch.setitem(MODULES, "pardata.memory.made_up", ast.parse(source))
    assert sorted(set(imports("pardata.memory.made_up"))) == [
        ("os.path", 1, False),
        ("pardata.errors", 2, False),
        ("pardata.memory.arena", 5, True),
    ]
