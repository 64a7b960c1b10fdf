"""A report is data: as JSON, and as the table of a notebook."""

import dataclasses
import json
from xml.etree import ElementTree

import numpy as np
import pytest

import pardata
from pardata.pool.report import PoolReport
from pardata.runtime.node_statistics import NodeStatistics
from pardata.runtime.progress import RunReport, Skipped, StageStatistics
from pardata.runtime.recording.record import RunRecord, Surroundings, WorkerRecord
from pardata.runtime.recording.recorder import CALL_WORDS, SAMPLE_WORDS, Recorded
from pardata.runtime.recording.sections import memory


@pytest.fixture
def report():
    stages = [
        StageStatistics("read & <go>", 2, 10, bytes=8_000_000, busy_s=1.5, starved_s=0.5),
        StageStatistics("check", 1, 10, failed=30, busy_s=0.2, blocked_s=0.7, ended_s=0.1),
    ]
    skipped = [Skipped("check", number, f"<item {number}>", "ValueError: 1 < 2", "a trace") for number in range(30)]
    return RunReport(stages, 2.5, skipped)


def test_as_dict_is_what_json_has(report):
    found = json.loads(json.dumps(report.as_dict()))
    assert found["seconds"] == 2.5 and found["bottleneck"] == "read & <go>"
    assert found["stages"] == [dataclasses.asdict(stage) for stage in report.stages]
    assert [Skipped(**skipped) for skipped in found["skipped"]] == report.skipped


def test_a_real_report_is_json_too():
    with pardata.source(range(5)).map(abs).filter(lambda x: x % 2).iterate(engine="threads") as run:
        assert json.dumps(run.report().as_dict())  # also while it goes on
        list(run)
    assert [stage["items"] for stage in run.report().as_dict()["stages"]] == [5, 5, 5]


def test_nodes_of_a_cluster_are_on_the_page_and_in_a_notebook(report, tmp_path):
    report.nodes = [NodeStatistics("tcp://a<b:1", "read + check", 7, 8_000_000, 300, redone=2, is_lost=True)]
    report.save(tmp_path / "run.html")
    assert "on 0 nodes of a cluster and 1 core here" in (tmp_path / "run.html").read_text()
    for text in (report._repr_html_(), (tmp_path / "run.html").read_text()):
        table = text[text.index("<table", text.index("</table>")) :]
        rows = ElementTree.fromstring(table[: table.index("</table>") + len("</table>")]).iter("tr")
        heads, cells = (["".join(cell.itertext()) for cell in row] for row in rows)
        assert heads[:6] == ["node", "messages", "sent", "received", "redone", "lost"]
        assert cells[:6] == ["tcp://a<b:1", "7", "8.0 MB", "300 B", "2", "yes"]


def test_a_notebook_shows_a_table(report):
    """Whole as XML, so every tag is closed and every text escaped."""
    page = ElementTree.fromstring(f"<div>{report._repr_html_()}</div>")
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    assert [row[:-1] for row in rows] == [
        ["stage", "workers", "items", "failed", "sent"],  # nothing was dropped, nobody was restarted
        ["read & <go>", "2", "10", "0", "8.0 MB"],
        ["check", "1", "10", "30", "0 B"],
    ]
    parts = [(span.get("title"), span.get("style")) for span in page.iter("span") if span.get("title")]
    assert [title for title, _ in parts[:2]] == ["busy 1.50 s", "starved 0.50 s"]
    assert "width:120.0px" in parts[0][1] and "width:40.0px" in parts[1][1]
    lines = ["".join(line.itertext()) for line in page.iter("li")]
    assert lines[0] == "check, item 0, <item 0>: ValueError: 1 < 2" and lines[-1] == "... and 10 more"


def test_a_notebook_shows_what_was_chosen_what_failed_and_the_nodes(report):
    around = Surroundings(auto=("check",), error="Traceback ...\nValueError: <1>")
    nodes = [NodeStatistics("tcp://<a>", "check", messages=3)]
    page = ElementTree.fromstring(
        f"<div>{dataclasses.replace(report, surroundings=around, nodes=nodes)._repr_html_()}</div>".replace("<br>", "")
    )
    told = "".join(page.itertext())
    assert 'workers="auto" came to: check 1' in told and "ValueError: <1>" in told and "tcp://<a>" in told


def test_a_notebook_shows_a_pool_as_a_table():
    workers = [{"tasks": 3, "deaths": 1, "work_s": 1.0, "wait_s": 2.0, "start_s": 1.0}] * 2
    made = PoolReport("<p>", {"seconds": 4.0, "workers": workers}, Surroundings())
    page = ElementTree.fromstring(f"<div>{made._repr_html_()}</div>")
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    assert [row[:3] for row in rows] == [["worker", "tasks", "deaths"], ["<p> 0", "3", "1"], ["<p> 1", "3", "1"]]
    assert rows[1][3].strip() == "1.00 s worked"
    assert [span.get("title") for span in page.iter("span") if span.get("title")][:3] == [
        "worked 1.00 s", "waited 2.00 s", "start 1.00 s",
    ]  # fmt: skip


def test_memory_that_nobody_has_used_yet_has_a_chart():
    """At the very begin of a run, when its page is looked at already."""
    samples = np.zeros((1, SAMPLE_WORDS), np.int64)
    calls = np.zeros((0, CALL_WORDS), np.int64)
    record = RunRecord(0, 1, [WorkerRecord("map", 0, Recorded(calls, calls, samples, 0))])
    assert "<svg" in memory(record, 1_000_000)


def test_an_empty_report_has_a_page():
    assert "bottleneck: <b>none</b>" in RunReport([], 0.0)._repr_html_()
    assert "0.00 s busy" in RunReport([StageStatistics("a", 1)], 0.0)._repr_html_()
