"""What a program still has when it ends: in whatever order the interpreter takes itself down, it says nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.programs import without_session

HOLDERS = ["a variable", "another package", "builtins", "a cycle", "a thread", "the interpreter", "nobody"]


@pytest.mark.parametrize("holder", HOLDERS)
def test_objects_that_are_kept_until_the_end_say_nothing(holder, tmp_path):
    program = Path(__file__).with_name("keepers.py")
    command = [sys.executable, str(program), holder, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=without_session())
    assert (done.stdout, done.stderr, done.returncode) == ("the end\n", "", 0)
    assert sorted(os.listdir(tmp_path)) == ["a.db", "w.db", "whole"]  # no lock, and no part of an unfinished file
