"""The marks in the pages, and the measured figures between them."""

import pytest

from benchmarks import pages, report, results
from benchmarks.results import Results
from benchmarks.rivals import EARLIER

RECORD = {
    "scenario": "blocks",
    "machine": {"cpu": "Some", "cores": 2, "memory_bytes": 2**33, "system": "Linux 6", "python": "3.11", "numpy": "2"},
    "cases": {
        "block_free": {
            "title": "made",
            "unit": "s",
            "date": "2026-01-02T03:04",
            "versions": {"pardata": "0.1.0"},
            "skipped": {},
            "rounds": {"pardata": [{"value": 2e-6}], "mp.shared_memory": [{"value": 6e-6}]},
        }
    },
}
MEASURED = Results({"blocks": RECORD})


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("figure block_free pardata", "2 us"),
        ("figure block_free mp.shared_memory", "6 us"),
        ("ratio block_free mp.shared_memory", "3 x"),
        ("figure block_fill pardata", "not measured"),
        ("ratio block_fill mp.shared_memory", "not measured"),
    ],
)
def test_figures_are_filled_in(mark, text):
    assert pages.filled(f"a <!-- {mark} -->old<!-- end --> b", MEASURED) == f"a <!-- {mark} -->{text}<!-- end --> b"


def test_tables_are_filled_in_and_filling_again_changes_nothing():
    text = "\n\n".join(
        f"<!-- table {what} -->\nold\n<!-- end -->"
        for what in ("bars", "falls-short", "machine", "versions", "scenario blocks", "block_free", "block_fill")
    )
    filled = pages.filled(text, MEASURED)
    assert "old" not in filled
    assert "| 3 | block_free | <= 1 x of mp.shared_memory | 0.333 x | 3 x | pass |" in filled
    assert "Some, 2 cores, 8 GiB; Linux 6; Python 3.11, NumPy 2; measured 2026-01-02." in filled
    assert "None falls short." in filled
    assert filled.rstrip().endswith("not measured\n<!-- end -->")
    assert pages.filled(filled, MEASURED) == filled


def test_what_is_better_than_earlier_is_told():
    rounds = {
        "pardata": [{"value": 2e-6, "cpu_s": 2.0, "items": 4, "peak_bytes": 3e6}],
        EARLIER: [{"value": 3e-6, "cpu_s": 1.0, "items": 4, "peak_bytes": 6e6}],
    }
    results = Results(
        {"blocks": RECORD | {"cases": {"block_free": RECORD["cases"]["block_free"] | {"rounds": rounds}}}}
    )
    filled = pages.filled("<!-- table earlier -->\n<!-- end -->", results)
    assert "| block_free: made | 3 us | 2 us | 1.5 x | 2 x | 0.5 x |" in filled
    assert report.earlier_factors(results) == [("block_free", 2 / 3, 2.0)]
    assert report.earlier_factors(MEASURED) == []


def test_a_mark_for_a_case_that_there_is_not_is_an_error():
    with pytest.raises(KeyError, match="there is no case blok"):
        pages.filled("<!-- figure blok pardata --><!-- end -->", MEASURED)


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_pages_show_what_was_measured(page):
    """Otherwise: ``python -m benchmarks --show --docs`` writes them anew."""
    text = page.read_text()
    assert pages.filled(text, results.load(results.FOLDER)) == text
    assert text.count("<!-- end -->") == len(pages.MARK.findall(text))
