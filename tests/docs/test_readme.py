"""What the documentation shows is run: every Python block of README.md and docs/, as one script each."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HANG_S = 300  # a script that hangs fails its test instead of blocking all
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


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


SCRIPTS = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if script_of(page)]


@pytest.mark.parametrize("page", SCRIPTS)
def test_python_blocks_run_as_printed(page, tmp_path):
    # Through standard input, where there is no file that a worker could import.
    script = script_of(page)
    if "import torch\n" in script:
        pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, cwd=tmp_path, timeout=HANG_S
    )
    assert done.returncode == 0, f"{page}:\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    assert "Warning" not in done.stderr, done.stderr


def test_first_two_commands_are_one_line_each():
    commands = [code for _, code in blocks(ROOT / "README.md", "sh")][:2]
    assert [command.count("\n") for command in commands] == [1, 1]
    assert "examples/photos.py" in commands[0]
    assert "pytest" in commands[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_layout_table_names_what_exists():
    names = re.findall(r"^\| `([^`]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
