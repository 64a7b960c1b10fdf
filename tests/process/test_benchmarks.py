"""The benchmark command, and each rival that is installed, in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import rivals

ROOT = Path(__file__).parents[2]
HANG_S = 120  # seconds; a rival that hangs fails its test
TOGETHER = [  # these start quickly
    "limit",
    "serial",
    "threads",
    "pardata",
    "pardata.Queue",
    "pardata, best fixed chunk",
    "mp.Queue",
    "mp.Pipe",
    "mp.Pool",
    "mp.shared_memory",
    "mp.Manager",
    "concurrent.futures",
]
GROUPS = [TOGETHER, *([name] for name in rivals.RIVALS if name not in TOGETHER and rivals.missing(name) is None)]


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_rivals_do_what_their_jobs_ask_for(names):
    done = run("-m", "tests.process.rivals_check", *names)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == names


def test_command_measures_compares_and_shows(tmp_path):
    done = run("-m", "benchmarks", "--quick", "--rounds", "3", "--out", tmp_path, "block_free")
    assert done.returncode == 0, done.stderr
    assert "falls short" in done.stdout or "pass" in done.stdout
    record = json.loads((tmp_path / "blocks.json").read_text())
    rounds = record["cases"]["block_free"]["rounds"]
    assert rounds.keys() == {"pardata", "mp.shared_memory"}
    for outcome in rounds["pardata"] + rounds["mp.shared_memory"]:
        assert outcome["value"] > 0 and outcome["cpu_s"] > 0 and outcome["left_processes"] == 0, outcome
    faster = {"value": 1e-9}
    rounds["pardata"] = [faster] * 3
    old = tmp_path / "old" / "blocks.json"
    old.parent.mkdir()
    old.write_text(json.dumps(record))
    done = run("-m", "benchmarks", "--show", "--out", tmp_path, "--compare", old, "block")
    assert done.returncode == 1 and "slower: block_free, pardata: 1e-09 -> " in done.stdout, done.stderr


def test_a_side_that_gives_a_wrong_result_does_not_count(tmp_path):
    script = (
        "import sys; from benchmarks import isolate\n"
        "isolate.become_reaper()\n"
        "try: isolate.run_side('paged_random', 'mp.Queue', 0.1)\n"
        "except isolate.SideFailed as error: print('failed:', error)\n"
    )
    done = run("-c", script)
    assert "failed: exit status 1" in done.stdout and "NotImplementedError" in done.stdout, done.stderr


def test_unknown_names_are_told():
    done = run("-m", "benchmarks", "chian")
    assert done.returncode == 2 and "no scenario or case 'chian'" in done.stderr and "chain_copy" in done.stderr
