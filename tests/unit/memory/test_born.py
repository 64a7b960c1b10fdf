"""NumPy's allocator over an arena, and where there is none."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from pardata.memory.born import library
from pardata.memory.born.library import OFF_VARIABLE, why_not

ROOT = Path(__file__).parents[3]
CHECKS = ROOT / "tests/unit/memory/born_checks.py"


def load_hook():
    """Return the module of the build hook, as a build loads it."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / ".hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hatch_build = load_hook()


def run(code, **variables):
    """Run Python in a process of its own; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-W", "ignore::DeprecationWarning", *code]  # of forks with threads
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.skipif(why_not() is not None, reason="arrays are not born in blocks here")
def test_checks():
    outcomes = json.loads(run([str(CHECKS)]))
    assert len(outcomes) > 10 and [name for name, is_right in outcomes.items() if not is_right] == []


@pytest.fixture
def fresh():
    """Ask again why not."""
    cached = (library.why_not, library.load_error, library._load)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def test_switched_off(fresh, monkeypatch):
    monkeypatch.setenv(OFF_VARIABLE, "0")
    assert why_not() == "PARDATA_BORN=0"


def test_no_library(fresh, monkeypatch, tmp_path):
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "none.so")
    assert "without a C compiler" in why_not()


@pytest.mark.skipif(why_not() is not None, reason="there is no library here")
def test_library_of_another_source(fresh, monkeypatch, tmp_path):
    changed = tmp_path / "born.c"
    changed.write_text("another version")
    monkeypatch.setattr(library, "SOURCES", [changed])
    assert "of another version than its source" in why_not()


@pytest.mark.skipif(why_not() is not None, reason="there is no library here")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("_ABIS", (), "the interface of NumPy"),
        ("_FIRST_API", 1 << 20, "the interface of NumPy"),
        ("_HANDLER_VERSION", 2, "allocators of version 1"),
        ("_has_glibc", lambda: False, "GNU C library"),
    ],
)
def test_unknown_system(name, value, told, fresh, monkeypatch):
    monkeypatch.setattr(library, name, value)
    assert told in why_not()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler")
def test_library_is_compiled_anew_or_deleted(monkeypatch, tmp_path):
    folder = tmp_path / hatch_build.FOLDER
    folder.mkdir(parents=True)
    for source in library.SOURCES:
        shutil.copy(source, folder)
    made = hatch_build.compile_library(str(tmp_path))
    assert made == folder / library.LIBRARY.name and made.stat().st_size
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(OSError):
        hatch_build.compile_library(str(tmp_path))
    assert sorted(os.listdir(folder)) == [source.name for source in library.SOURCES]


class Build(hatch_build.CustomBuildHook):
    """The hook, as a build has it."""

    app = types.SimpleNamespace(display_warning=lambda text: None)

    def __init__(self, root):
        self.folder = root

    root = property(lambda self: str(self.folder))


@pytest.mark.parametrize("is_compiled", [True, False])
def test_wheel_is_of_a_platform_only_with_a_library(is_compiled, monkeypatch, tmp_path):
    if is_compiled and shutil.which("cc") is None:
        pytest.skip("there is no compiler")
    if not is_compiled:
        monkeypatch.setenv("CC", "no-such-compiler")
    folder = tmp_path / hatch_build.FOLDER
    folder.mkdir(parents=True)
    for source in library.SOURCES:
        shutil.copy(source, folder)
    data = {"artifacts": [], "pure_python": True}
    Build(tmp_path).initialize("editable", data)
    assert data["pure_python"] is not is_compiled and bool(data["artifacts"]) is is_compiled
    assert data.get("tag", "py3-none-any").startswith("py3-none-linux_" if is_compiled else "py3-none-any")


def test_command_tells():
    assert "off, so results are copied into it: PARDATA_BORN=0" in run(["-m", "pardata", "info"], PARDATA_BORN="0")
