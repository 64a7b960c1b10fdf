"""`python -m pardata info`: versions, limits, and what is switched on, with the reason if it is not."""

import platform
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pardata
from pardata.__main__ import main
from pardata.codec.ownership import Sole
from pardata.runtime import information

SHORTCUTS = "arrays that only a stage has are passed on without a copy"
WAKEUPS = "wake-ups of workers that are awake are saved"


def test_it_prints_all_parts(capsys):
    main(["info"])
    told = capsys.readouterr().out
    for word in ("versions:", "limits:", "switched on:", "extras:", pardata.__version__, platform.python_version()):
        assert word in told
    rows = dict(row for part in information.information("1").values() for row in part)
    assert {"numpy", "cores", "memory", "descriptors", "processes", "joblib"} <= rows.keys()


def test_every_extra_for_users_is_told(capsys):
    main(["info"])
    told = capsys.readouterr().out
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    for extra in project["optional-dependencies"].keys() - {"examples", "tables", "test", "bench"}:
        assert f"({extra}: " in told


def test_a_full_disk_is_told_in_one_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "pardata", "ls"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "python -m pardata: standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (Sole(2, 2, 1), "on"),
        (Sole(2, 2, 0), "on, but not for what a generator still holds"),
        (Sole(0, 0, 0), "off"),
    ],
)
def test_why_shortcuts_are_off(counts, told, monkeypatch):
    monkeypatch.setattr(information, "sole", counts)
    found = dict(information.information("1")["switched on"])[SHORTCUTS]
    assert found.startswith(told) and (":" in found) == (told != "on")


def test_why_huge_pages_are_off(tmp_path, monkeypatch):
    setting = tmp_path / "shmem_enabled"
    monkeypatch.setattr(information, "_HUGE_PAGES", str(setting))
    assert "this system has none" in information._huge_pages()
    setting.write_text("always within_size advise [never] deny force\n")
    assert information._huge_pages().startswith("off") and "says never" in information._huge_pages()
    setting.write_text("always within_size [advise] never deny force\n")
    assert information._huge_pages().startswith("on")


def test_other_systems(monkeypatch):
    monkeypatch.setattr(information, "HAS_SHARED_MEMORY", False)
    monkeypatch.setattr(information, "CAN_ELIDE_WAKEUPS", False)
    found = dict(information.information("1")["switched on"])
    assert sys.platform in found["processes"] and platform.machine() in found[WAKEUPS]
