"""README.md: its Python blocks are run as one script, its commands are one line each, and what it names exists."""

import re

from tests.docs.scripts import ROOT, blocks, check_that_it_runs

README = ROOT / "README.md"


def test_python_blocks_run_as_printed(tmp_path):
    check_that_it_runs(README, tmp_path)


def test_first_two_commands_are_one_line_each():
    commands = [code for _, code in blocks(README, "sh")][:2]
    assert [command.count("\n") for command in commands] == [1, 1]
    assert "examples/photos.py" in commands[0]
    assert "pytest" in commands[1]


def test_layout_table_names_what_exists():
    names = re.findall(r"^\| `([^`]+)` \|", README.read_text(), re.MULTILINE)
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
