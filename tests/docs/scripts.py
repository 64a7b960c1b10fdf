"""The Python blocks of a page as one script."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HANG_S = 300  # a script that hangs fails its test instead of blocking all


def blocks(page, language):
    """Each fenced block of `language` in the file `page`: the number of its first line, and its text."""
    text = page.read_text()
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start(1)) + 1, match[1]


def script_of(page):
    """The Python blocks of a page, one after the other, at the lines where they stand there."""
    script = ""
    for line, code in blocks(page, "python"):
        if not is_runnable(page, line):
            continue
        script += "\n" * (line - 1 - script.count("\n")) + code
    return script


def is_runnable(page, line):
    """Whether the library is installed that the line above a block asks for, as ``<!-- needs: zarr -->``."""
    above = page.read_text().splitlines()[line - 3]
    needed = re.fullmatch(r"<!-- needs: (\w+) -->", above)
    return needed is None or importlib.util.find_spec(needed[1]) is not None


def check_that_it_runs(page, folder, before=""):
    """Run the script of a page in a folder: it ends well, without a word about errors or warnings.

    `before`: statements in front of it, in a line in which the page has no code.
    """
    # Through standard input, where there is no file that a worker could import.
    script = before + script_of(page)
    if "import torch\n" in script:
        pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, cwd=folder, timeout=HANG_S
    )
    assert done.returncode == 0, f"{page}:\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    assert "Warning" not in done.stderr, done.stderr
