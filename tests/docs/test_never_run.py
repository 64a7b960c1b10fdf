"""A script that forgets to run a stream is told so once; nobody else is."""

import os
import runpy
import subprocess
import sys
import warnings

import pytest

import pardata
from pardata.pipeline import never_run

HEAD = "import pardata, sys\nnumbers = pardata.source([1, 2, 3]).map(abs)\n"

FORGETTING = {  # what a script does, and what it is told
    "dropped at once": ("numbers.to(print)", "script.py:3: the stream 'print' was never run: call its run"),
    "kept": ("last = numbers.filter(bool)", "the stream 'bool' was never run: call"),
    "two": ("a, b = numbers.to([]), numbers.to([])", "the stream 'list' was never run, nor 1 more: call"),
    "in a function": ("def main():\n    numbers.to(print)\n\nmain()", "script.py:4: the"),
    "beside another": ("numbers.run(engine='serial')\nnumbers.to(print)", "'print' was never run: call"),
    "many": ("for n in range(9):\n    numbers.map(float)", "'float' was never run, nor"),
}
SILENT = {
    "a run": "numbers.run(engine='serial')",
    "a loop": "for number in numbers.to([]).iterate(engine='serial'): pass",
    "run together": "pardata.run(numbers.to([]), numbers.map(float), engine='serial')",
    "parts": "pardata.zip(numbers, numbers.map(abs)).batch(2).run(engine='serial')",
    "branches": "a, b = numbers.partition(abs, 2)\npardata.merge(a, b).run(engine='serial')",
    "failed": "good = numbers.map(abs, errors='stream')\npardata.merge(good, good.failed).run(engine='serial')",
    "looked at": "print(numbers.map(abs)); repr(numbers.to(print)); numbers.map(abs).dry_run(); numbers._repr_svg_()",
    "a source alone": "numbers.run(engine='serial')\nlast = pardata.source([])",
    "a prompt": "exec('last = numbers.to(print)', {'__name__': '__main__', 'numbers': numbers})",
    "a refused run": "try: pardata.zip(numbers, pardata.source([1])).run()\nexcept ValueError: pass",
    "an exception": "last = numbers.to(print)\nsys.last_value = ValueError()",
    "a module": "sys.path.insert(0, '.')\nnumbers.run(engine='serial')\nimport module_that_makes_a_stream",
    "handed elsewhere": "import pickle\npickle.dumps(numbers.map(abs))",
}


@pytest.fixture
def told(tmp_path, monkeypatch):
    """A function that runs a script and returns what it is told at its end."""
    (tmp_path / "module_that_makes_a_stream.py").write_text(HEAD + "last = numbers.to(print)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(body):
        monkeypatch.setattr(never_run, "_unused", {})
        monkeypatch.setattr(never_run, "_dropped", [])
        monkeypatch.delattr(sys, "last_value", raising=False)
        monkeypatch.delattr(sys, "last_exc", raising=False)
        (tmp_path / "script.py").write_text(HEAD + body + "\n")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kept = runpy.run_path("script.py", run_name="__main__")
            never_run._tell()
        del kept
        return [f"{os.path.basename(each.filename)}:{each.lineno}: {each.message}" for each in caught]

    return run


@pytest.mark.parametrize("case", FORGETTING)
def test_a_script_that_forgets_a_stream_is_told_once(told, case):
    body, words = FORGETTING[case]
    (found,) = told(body)
    assert words in found


def test_nobody_else_is_told(told):
    assert {case: told(body) for case, body in SILENT.items()} == {case: [] for case in SILENT}


def python(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=100,
    ).stderr  # fmt: skip


def test_at_the_end_of_a_process(tmp_path):
    """A child and a worker end without a word; the script that has made them is told once."""
    (tmp_path / "script.py").write_text(
        HEAD
        + "import os\n"
        + "last = numbers.to(print)\n"
        + "def nested(n): return pardata.source([n]).map(abs) and n\n"
        + "assert list(numbers.map(nested)) == [1, 2, 3]\n"
        + "child = os.fork()\n"
        + "if child: os.wait()\n"
    )
    assert python(tmp_path, "script.py").count("script.py:4: RuntimeWarning: the stream 'print' was never run") == 1
    (tmp_path / "failing.py").write_text(HEAD + "last = numbers.to(print)\n1 / 0\n")
    error = python(tmp_path, "failing.py")
    assert "ZeroDivisionError" in error and "never run" not in error


def test_the_repr_says_whether_a_stream_was_run():
    numbers = pardata.source([1]).map(abs)
    assert repr(numbers) == "<Stream abs <- source (not run)>"
    numbers.map(float).run(engine="serial")
    assert repr(numbers) == "<Stream abs <- source (not run)>"
    numbers.run(engine="serial")
    assert repr(numbers) == "<Stream abs <- source>"
    sink = numbers.to([])
    pardata.run(sink, engine="serial")
    assert "not run" not in repr(sink)
    looped = numbers.map(float)
    looped.aiter(engine="serial")  # runs with its loop; the stream is in use
    assert "not run" not in repr(looped)
