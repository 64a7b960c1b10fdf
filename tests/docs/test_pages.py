"""The pages agree with the code: files and functions that they name exist, and what is made from it is current."""

import re

import pytest

from tests.docs.generate import ROOT, pages
from tests.docs.references import missing, references
from tests.layers.layers import LAYERS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_functions_that_are_named_exist(page):
    assert missing(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_what_is_made_from_the_code_is_current(page):
    assert page.read_text() == pages()[page], "run `python -m tests.docs.generate`"


def test_records_of_decisions_are_numbered_and_complete():
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    for number, record in enumerate(records, 1):
        assert re.match(rf"{number:02}-", record.name)
        parts = re.findall(r"^(?:# (\d+)\. |\*\*(\w+)\.\*\*)", record.read_text(), re.MULTILINE)
        assert parts == [(str(number), ""), *(("", part) for part in ("Context", "Decision", "Rejected", "Evidence"))]


def test_the_picture_shows_each_layer():
    drawn = re.findall(r">([\w ]+)<", (ROOT / "docs" / "architecture.svg").read_text())
    assert [layer for group in LAYERS for layer in group if layer not in drawn] == []


# -- the check itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`channel/sender.py`", []),
        ("`pardata/channel/sender.py: Sender.prepare, Sender`", []),
        ("`tests/layers/`", []),
        ("`channel/sender.py: Sender.no_such`", ["channel/sender.py: Sender.no_such"]),
        ("`channel/no_such.py`", ["channel/no_such.py"]),
        ("`pardata/no_such/`", ["pardata/no_such/"]),
        ("`process/lifecycle.py: IN_A_ROW, State.ALIVE`", []),
    ],
)
def test_a_name_that_does_not_exist_is_found(text, found):
    assert list(references(text))
    assert missing(text) == found
