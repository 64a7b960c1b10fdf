"""What a distribution says of itself is so: its version, its licence, and the Pythons it is for."""

import re
import tomllib

import pardata
from tests.docs.generate import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_stands_in_one_place():
    assert "version" not in PROJECT["project"] and PROJECT["project"]["dynamic"] == ["version"]
    text = (ROOT / PROJECT["tool"]["hatch"]["version"]["path"]).read_text()
    assert re.findall(r'^__version__ = "(.*)"$', text, re.MULTILINE) == [pardata.__version__]


def test_the_newest_changes_are_those_of_this_version():
    text = (ROOT / "docs/changes.md").read_text()
    newest = re.search(r"^## (\S+) \((?:unreleased|\d{4}-\d{2}-\d{2})\)$", text, re.MULTILINE)
    assert newest is not None and newest[1] == pardata.__version__


def test_the_licence_is_shipped():
    assert PROJECT["project"]["license"] == "MIT"
    [path] = PROJECT["project"]["license-files"]
    assert (ROOT / path).read_text().startswith("MIT License\n")
