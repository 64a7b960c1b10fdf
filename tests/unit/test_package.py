"""`import pardata` costs little, and gives each public name when it is asked for."""

import ast
import inspect
import subprocess
import sys

import pytest

import pardata


def modules_after(statement):
    code = f"{statement}; import sys; print(*(name for name in sys.modules if name.startswith('pardata.')))"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_import_loads_errors_and_the_session_alone():
    loaded = modules_after("import pardata, sys; assert 'numpy' not in sys.modules")
    assert {name.split(".")[1] for name in loaded} == {"errors", "memory", "process"}


def test_block_of_a_child_that_was_started_before_the_first_use_outlives_it():
    script = """
import os, pardata
pid = os.fork()
if not pid:
    pardata.SharedMemory("pardata-early", create=True, size=3).buf[:3] = b"abc"
    os._exit(0)
os.waitpid(pid, 0)
block = pardata.SharedMemory("pardata-early")
print(bytes(block.buf[:3]))
block.close()
block.unlink()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "b'abc'\n", done.stderr


@pytest.mark.parametrize(("name", "other"), [("source", "pardata.pool"), ("WorkerPool", "pardata.pipeline")])
def test_pipelines_load_no_pool_and_pools_no_pipeline(name, other):
    assert not [module for module in modules_after(f"import pardata; pardata.{name}") if module.startswith(other)]


@pytest.mark.parametrize("name", sorted({*pardata.__all__, "cluster"}))
def test_public_names_are_found_once(name):
    assert getattr(pardata, name) is getattr(pardata, name) is vars(pardata)[name]
    assert name in dir(pardata)


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'pardata' has no attribute 'nothing'"):
        _ = pardata.nothing


def test_a_type_checker_is_told_of_names_that_are_none():
    """It takes what a module's `__getattr__` returns for any name that it does not find: that must not meet its eye."""
    tree = ast.parse(inspect.getsource(pardata))
    assert not [found for found in tree.body if getattr(found, "name", "") == "__getattr__"]
    assert not {"Any", "TYPE_CHECKING"} & {*dir(pardata)}
