"""The benchmark command, and each rival that is installed, in processes of their own."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import rivals

ROOT = Path(__file__).parents[2]
HANG_S = 120  # seconds; a rival that hangs fails its test
# Slow to start.
ALONE = ("torch", "ray tasks", "ray actors", "ray compiled graph", "ray data", "dask distributed", "dask actors")
SAME_CODE = ("mp.Pool spawn", "dask processes")  # as "mp.Pool" and "dask threads", but for one word
INSTALLED = [name for name in rivals.RIVALS if rivals.missing(name) is None and name not in SAME_CODE]
GROUPS = [[name for name in INSTALLED if name not in ALONE], *([name] for name in INSTALLED if name in ALONE)]


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
        assert 5e6 < outcome["peak_bytes"] < 500e6, outcome  # an interpreter with NumPy, and a guardian
    faster = {"value": 1e-9}
    rounds["pardata"] = [faster] * 3
    old = tmp_path / "old" / "blocks.json"
    old.parent.mkdir()
    old.write_text(json.dumps(record))
    done = run("-m", "benchmarks", "--show", "--out", tmp_path, "--compare", old, "block")
    assert done.returncode == 1 and "slower: block_free, pardata: 1e-09 -> " in done.stdout, done.stderr


def test_other_sources_are_measured_in_turn_with_these(tmp_path):
    script = (
        "import pathlib, sys; from benchmarks import runner, scenarios\n"
        "root, out = map(pathlib.Path, sys.argv[1:])\n"
        "options = runner.Options(1, 0.1, ('pardata',), False, 0.0, False, out, root)\n"
        "runner.measure(scenarios.select(['block_free']), options)\n"
    )
    done = run("-c", script, ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    rounds = json.loads((tmp_path / "blocks.json").read_text())["cases"]["block_free"]["rounds"]
    assert rounds.keys() == {"pardata", rivals.EARLIER}
    assert all(outcome["value"] > 0 for (outcome,) in rounds.values())
    done = run("-m", "benchmarks", "--earlier", tmp_path, "block_free")
    assert done.returncode == 2 and "is no work tree of f60c095" in done.stderr


def test_a_side_that_gives_a_wrong_result_does_not_count(tmp_path):
    script = (
        "import sys; from benchmarks import isolate\n"
        "isolate.become_reaper()\n"
        "try: isolate.run_side('paged_random', 'mp.Queue', 0.1)\n"
        "except isolate.SideFailed as error: print('failed:', error)\n"
    )
    done = run("-c", script)
    assert "failed: exit status 1" in done.stdout and "NotImplementedError" in done.stdout, done.stderr


def test_cases_on_kinds_of_arrays_are_right_on_little():
    script = (
        "from functools import partial\n"
        "from benchmarks import rivals\n"
        "from benchmarks.scenarios import kinds\n"
        "small = {kinds._stage: (6000,), kinds._windows: (2000, 100), kinds._memmap_tasks: (20_000,)}\n"
        "for case in kinds.CASES:\n"
        "    work = case.measure\n"
        "    kind = work.args[: len(work.args) - len(small[work.func])]\n"
        "    needs_joblib = case.name == 'memmap_tasks' and rivals.missing('joblib')\n"
        "    for side in () if needs_joblib else case.sides:\n"
        "        if rivals.missing(side) is None:\n"
        "            assert work.func(*kind, *small[work.func], rivals.load(side), 0.01)['value'] > 0\n"
        "            print(case.name, side)\n"
    )
    done = run("-c", script)
    assert done.returncode == 0, done.stderr
    assert "stage_memmap pardata" in done.stdout and "windows_shared pardata" in done.stdout


def test_unknown_names_are_told():
    done = run("-m", "benchmarks", "chian")
    assert done.returncode == 2 and "no scenario or case 'chian'" in done.stderr and "chain_copy" in done.stderr


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib comes with the extra bench")
def test_the_same_results_give_the_same_plots(tmp_path):
    script = (
        "from benchmarks import plots, results\n"
        "from pathlib import Path\n"
        "found = results.load(results.FOLDER)\n"
        "for name in ('a', 'b'): plots.draw(found, ['block_free', 'block_fill'], Path(f'{name}.svg').absolute())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
