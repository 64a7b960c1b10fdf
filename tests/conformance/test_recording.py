"""A recorded run: what is recorded on all engines, and that its page and its trace tell what the report does."""

import asyncio
import json
import os
import signal
from html.parser import HTMLParser

import pytest

import pardata
from pardata.memory.budget import format_bytes
from pardata.runtime.recording.record import calls_of, sample_shift
from pardata.runtime.recording.recorder import CALL_DONE, CALL_RETRIES, MOST_CALLS
from tests.conformance.traces import check_format

ENGINES = ["serial", "threads", "processes"]


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


class Cells(HTMLParser):
    """The rows of the tables of a page, and all of its text; refuses a tag that is not closed."""

    EMPTY = frozenset({"meta"})

    def __init__(self, page):
        super().__init__()
        self.rows, self.text, self._open = [], "", []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        if tag not in self.EMPTY:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data


def page_of(report, folder):
    path = folder / "run.html"
    report.save(path)
    text = path.read_text()
    assert not any(word in text for word in ("http://", "https://", "<script", "src=", "@import", "url("))
    return Cells(text)


def check_page(report, folder):
    """Compare the numbers of the page's table with the report."""
    page = page_of(report, folder)
    heads = page.rows[0]
    for stage, row in zip(report.stages, page.rows[1:], strict=False):
        cells = dict(zip(heads, row, strict=True))
        assert cells["stage"] == stage.name and cells["sent"] == format_bytes(stage.bytes)
        for head in set(heads) & {"workers", "items", "dropped", "failed", "restarts"}:
            assert cells[head] == f"{getattr(stage, head):,}"
        assert f"busy {stage.busy_s:.2f} s" in cells["time of the workers"]
    return page


def done(report):
    """The items of the calls that were recorded, by stage."""
    found = {}
    for worker in report.surroundings.record.workers:
        found[worker.stage] = found.get(worker.stage, 0) + int(calls_of(worker, 0)[:, CALL_DONE].sum())
    return found


def below_ten(number):
    if number >= 10:
        raise ValueError("<b>too large</b>")
    return number


def pairs(items):
    for item in items:
        yield item
        yield item


async def awaited(number):
    await asyncio.sleep(0)
    return number


def test_each_item_is_recorded_in_each_stage(engine, tmp_path):
    stream = pardata.source(range(50)).map(abs, workers=2).filter(lambda x: x % 2).map(awaited, concurrency=4)
    report = stream.map(below_ten, errors="skip", name="<i>").to([]).run(engine=engine, record=True)
    assert done(report) == {stage.name: stage.items for stage in report.stages}
    page = check_page(report, tmp_path)
    assert all(stage.name in page.text for stage in report.stages)
    assert "Skipped items: 20" in page.text and "ValueError: <b>too large</b>" in page.text
    assert "Traceback" in page.text and "Latencies" in page.text
    report.trace(tmp_path / "run.json")
    trace = json.loads((tmp_path / "run.json").read_text())
    assert len(check_format(trace)) >= len(report.stages) and any(event["ph"] == "s" for event in trace["traceEvents"])


def test_numbers_that_begin_anew_are_followed(engine, tmp_path):
    report = (pardata.source(range(20)) | pairs).map(abs).run(engine=engine, record=True)
    assert done(report)["abs"] == 40
    report.trace(tmp_path / "run.json")
    trace = json.loads((tmp_path / "run.json").read_text())
    check_format(trace)
    events = trace["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event.get("name") == "process_name"}
    arrows = {}
    for event in events:
        if event["ph"] in "sf":
            arrows.setdefault(event["id"], []).append(names[event["pid"]])
    assert ["2 pairs", "3 abs"] in arrows.values()


def test_many_items_are_a_sample_and_the_page_says_so(tmp_path):
    for engine in ("serial", "threads"):
        stream = pardata.source(range(30_000)).map(abs, chunksize=1)
        report = stream.run(engine=engine, record=True)
        workers = report.surroundings.record.workers
        shift = sample_shift(workers)
        assert shift == 1 and all(len(calls_of(worker, shift)) <= MOST_CALLS for worker in workers)
        page = check_page(report, tmp_path)
        assert "1 of 2 messages" in page.text
        assert (tmp_path / "run.html").stat().st_size < 1_000_000


def test_without_a_record_the_page_says_how_to_get_one(engine, tmp_path):
    report = pardata.source([1, 2]).map(abs).run(engine=engine)
    assert report.surroundings.record is None
    assert "run(record=True)" in check_page(report, tmp_path).text
    with pytest.raises(pardata.ConfigError, match="record=True"):
        report.trace(tmp_path / "run.json")
    for method in (report.save, report.trace):
        with pytest.raises(pardata.ConfigError):
            method(tmp_path / "run.txt")
    assert not (tmp_path / "run.txt").exists()


def test_other_values_of_record_are_refused():
    stream = pardata.source([1])
    for make in (lambda: stream.run(record="run.html"), lambda: pardata.WorkerPool(1, record="pool.html")):
        with pytest.raises(pardata.ConfigError, match="record must be True or False"):
            make()


@pytest.mark.parametrize("items", [[], [7]])
def test_short_runs_have_pages_too(items, engine, tmp_path):
    report = pardata.source(items).map(abs).run(engine=engine, record=True)
    check_page(report, tmp_path)
    assert done(report)["abs"] == len(items)


def test_a_failed_run_shows_its_error(engine, tmp_path):
    run = pardata.source(range(20)).map(below_ten).iterate(engine=engine, record=True)
    with run, pytest.raises(ValueError, match="too large"):
        list(run)
    page = check_page(run.report(), tmp_path)
    assert "ValueError: <b>too large</b>" in page.text and "below_ten" in page.text and "has failed" in page.text
    assert page.text.index("The error that ended the run") < page.text.index("Calls of the workers")


def test_a_notebook_shows_the_counts_of_a_run_that_goes_on(engine):
    with pardata.source(range(5)).map(abs).iterate(engine=engine) as run:
        next(run)
        assert "<table" in run._repr_html_() and "abs" in run._repr_html_()
        list(run)
    assert run._repr_html_() == run.report()._repr_html_()


class Flaky:
    """Fails once at item 3."""

    def __init__(self):
        self.has_failed = False

    def __call__(self, number):
        if number == 3 and not self.has_failed:
            self.has_failed = True
            raise ValueError
        return number


def test_retries_are_recorded(engine, tmp_path):
    report = pardata.source(range(6)).map(Flaky, chunksize=1, retries=1, name="flaky").run(engine=engine, record=True)
    rows = [calls_of(worker, 0) for worker in report.surroundings.record.workers if worker.stage == "flaky"]
    assert sum(int(calls[:, CALL_RETRIES].sum()) for calls in rows) == 1
    text = page_of(report, tmp_path).text
    assert "Calls that were tried again" in text and "item 3" in text


class DeadlyOnce:
    """Kills its process at item 5, unless a file says that it has done so."""

    def __init__(self, path):
        self.path = path

    def __call__(self, number):
        if number == 5 and not os.path.exists(self.path):
            with open(self.path, "w"):
                os.kill(os.getpid(), signal.SIGKILL)
        return number


def test_what_a_killed_worker_has_done_is_there(tmp_path):
    stream = pardata.source(range(10)).map(DeadlyOnce(str(tmp_path / "killed")), chunksize=1, name="deadly")
    report = stream.run(record=True)
    (death,) = report.surroundings.record.deaths
    assert (death.stage, death.index, death.number) == ("deadly", 0, 5) and "SIGKILL" in death.how
    assert report.surroundings.record.begin_ns < death.begun_ns <= death.at_ns < report.surroundings.record.end_ns
    assert done(report)["deadly"] == 10
    page = check_page(report, tmp_path)
    assert "Deaths of workers" in page.text and "item 5" in page.text and "SIGKILL" in page.text
