"""A report's page as Chromium draws it on narrow and wide screens: the numbers are those of the report."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pardata.memory.budget import format_bytes
from pardata.runtime.recording.numbers import rate_text
from pardata.runtime.recording.record import calls_of
from pardata.runtime.recording.recorder import CALL_BEGIN_NS, CALL_END_NS
from tests.conformance import chromium

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="chromium is not installed")

EXAMPLE = Path(__file__).parents[2] / "examples" / "photos.py"
SEEN = """(() => {
    const all = (selector, within = document) => [...within.querySelectorAll(selector)];
    const box = element => element.getBoundingClientRect();
    const texts = (selector, within) => all(selector, within).map(element => element.innerText);
    const part = (element, whole) =>
        ["left", "right"].map(side => (box(element)[side] - box(whole).left) / box(whole).width);
    return {
        too_wide: document.documentElement.scrollWidth - innerWidth,
        text: document.body.innerText,
        rows: all(".stages tbody tr").map(row => [...row.cells].map(cell => cell.innerText)),
        shares: all(".stages .share").map(
            bar => Object.fromEntries(all("i", bar).map(each => [each.className, box(each).width / box(bar).width]))),
        graphs: all(".graph").filter(graph => box(graph).width).map(
            graph => ({boxes: all(".box", graph).length, texts: all("text", graph).map(text => text.textContent)})),
        lanes: Object.fromEntries(all(".lanes svg").map(
            lane => [lane.getAttribute("aria-label"), all("path.busy", lane).map(path => part(path, lane))])),
    };
})()"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium.new_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of the run of `examples/photos.py`, on photographs of which one cannot be read."""
    image, _ = pytest.importorskip("PIL.Image"), pytest.importorskip("skimage")
    spec = importlib.util.spec_from_file_location("photos", EXAMPLE)
    photos = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(photos)
    folder = tmp_path_factory.mktemp("photographs")
    for name in "abdef":
        image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(folder / f"{name}.png")
    (folder / "c.png").write_bytes(b"no picture")
    return photos.build(sorted(folder.iterdir()), folder, 2).run(engine="threads", record=True)


@pytest.mark.parametrize("width", [400, 1600])
def test_the_numbers_on_the_page_are_those_of_the_report(width, report, tab, tmp_path):
    report.save(tmp_path / "run.html")
    tab.resize(width)
    tab.open((tmp_path / "run.html").as_uri())
    seen = tab.evaluate(SEEN)
    assert seen["too_wide"] <= 0
    assert "Skipped items: 1" in seen["text"] and "c.png" in seen["text"]
    for stage, row, share in zip(report.stages, seen["rows"], seen["shares"], strict=True):
        assert row[0] == stage.name
        assert {str(stage.workers), f"{stage.items:,}", format_bytes(stage.bytes)} <= set(row[1:-1])
        assert f"busy {stage.busy_s:.2f} s" in row[-1] and f"starved {stage.starved_s:.2f} s" in row[-1]
        check_share(stage, share)
    (graph,) = seen["graphs"]
    assert graph["boxes"] == len(report.stages)
    givers = {edge.giver for edge in report.surroundings.edges}
    for stage in report.stages:
        rate = rate_text((stage.items - stage.dropped - stage.failed) / report.seconds)
        assert stage.name not in givers or f"{rate} items/s" in graph["texts"]
    check_lanes(report.surroundings.record, seen["lanes"])


def check_share(stage, share):
    """The bar of a stage is divided as the time of its workers was."""
    seconds = {"busy": stage.busy_s, "starved": stage.starved_s, "blocked": stage.blocked_s, "other": stage.ended_s}
    for kind, part in share.items():
        assert part == pytest.approx(seconds[kind] / sum(seconds.values()), abs=0.03)  # a bar may be 70 px wide


def check_lanes(record, lanes):
    """The calls of each worker begin and end where they did."""
    for worker in record.workers:
        calls = calls_of(worker, 0)
        drawn = lanes[f"calls of {worker.stage} {worker.index}"]
        assert bool(drawn) == bool(len(calls))
        if drawn:
            whole = record.end_ns - record.begin_ns
            begin, end = (calls[:, CALL_BEGIN_NS].min(), calls[:, CALL_END_NS].max())
            left, right = min(each[0] for each in drawn), max(each[1] for each in drawn)
            assert left == pytest.approx((begin - record.begin_ns) / whole, abs=0.01)
            assert right == pytest.approx((end - record.begin_ns) / whole, abs=0.01)
