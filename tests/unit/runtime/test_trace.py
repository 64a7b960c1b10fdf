"""The trace of a long graph is large: it is written piece by piece. All in it is where viewers look for it."""

import json
import tracemalloc

import numpy as np

from pardata.runtime.progress import RunReport
from pardata.runtime.recording.record import DeathRecord, GraphEdge, RunRecord, Surroundings, WorkerRecord
from pardata.runtime.recording.recorder import CALL_WORDS, SAMPLE_WORDS, SENT, Recorded
from tests.conformance.traces import check_format

STAGES, CALLS = 10, 300


def worker(index):
    calls = np.zeros((CALLS, CALL_WORDS), np.int64)
    calls[:, 0] = 1000 * np.arange(CALLS) + index  # begin
    calls[:, 1] = calls[:, 0] + 500  # end
    calls[:, 4] = np.arange(CALLS)  # number
    calls[:, 5] = calls[:, 6] = 1
    recorded = Recorded(calls, calls[:0], np.zeros((0, SAMPLE_WORDS), np.int64), 0)
    return WorkerRecord(f"stage {index}", 0, recorded)


def test_a_trace_takes_less_memory_than_its_file(tmp_path):
    edges = tuple(GraphEdge(f"stage {index}", f"stage {index + 1}") for index in range(STAGES - 1))
    record = RunRecord(0, 1000 * CALLS, [worker(index) for index in range(STAGES)])
    report = RunReport([], 1.0, surroundings=Surroundings(edges, record=record))
    path = tmp_path / "run.json"
    tracemalloc.start()
    try:
        report.trace(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size
    events = json.loads(path.read_text())["traceEvents"]
    arrows = [(event["pid"], event["ts"]) for event in events if event["ph"] in "sf"]
    assert len(arrows) == 2 * (STAGES - 1) * CALLS
    assert arrows[:2] == [(1, 0.001), (2, 0.001)]
    assert len([event for event in events if event["ph"] == "X"]) == STAGES * CALLS


def recorded(*rows):
    """Calls as rows of begin, end, number and retries."""
    calls = np.zeros((len(rows), CALL_WORDS), np.int64)
    for call, (begin, end, number, retries) in zip(calls, rows, strict=True):
        call[:] = begin, end, 0, 0, number, 1, 1, 0, retries
    return Recorded(calls, calls[:0], np.zeros((0, SAMPLE_WORDS), np.int64), 0)


def test_all_slices_and_arrows_are_where_viewers_find_them(tmp_path):
    giver = WorkerRecord("slow to commit", 0, recorded((0, 1000, 0, 0), (1000, 2000, 1, 0)))
    reader = WorkerRecord("fast", 0, recorded((100, 200, 0, 0), (1100, 1200, 1, 0)))
    # Lane 3 of process 3, in the thread of lane 0; a message that is made before any call, and one behind its call.
    awaiting = [(begin, begin + 900, number, 0) for number, begin in enumerate(range(300, 340, 10))]
    lanes = WorkerRecord("several at a time", 0, recorded(*awaiting), lanes=4)
    makes = WorkerRecord("filter", 0, recorded((500, 510, 0, 0), (490, 490, 7, SENT), (530, 530, 8, SENT)))
    reads = WorkerRecord("reads", 0, recorded((540, 550, 7, 0), (560, 570, 8, 0)))
    workers = [giver, reader, lanes, makes, reads]
    edges = [GraphEdge(one.stage, other.stage) for one, other in zip(workers, workers[1:], strict=False)]
    report = RunReport([], 1.0, surroundings=Surroundings(tuple(edges), record=RunRecord(0, 3000, workers)))
    report.trace(tmp_path / "run.json")
    trace = json.loads((tmp_path / "run.json").read_text())
    assert len(check_format(trace)) == 11
    arrows = [(event["pid"], event["ts"]) for event in trace["traceEvents"] if event["ph"] in "sf"]
    assert arrows[:4] == [(1, 0.1), (2, 0.1), (1, 1.1), (2, 1.1)] and arrows[-2:] == [(4, 0.51), (5, 0.56)]


def test_a_run_that_ends_before_all_its_workers_have_begun_has_a_trace(tmp_path):
    """As one whose first function cannot be loaded: a worker counts as begun when it has loaded its program."""
    workers = [WorkerRecord("numbers", 0, recorded((0, 1000, 0, 0)))]
    edges = GraphEdge("numbers", "killed"), GraphEdge("killed", "not begun")
    death = DeathRecord("killed", 1, None, 500, 600, "killed by SIGKILL")
    record = RunRecord(0, 3000, workers, [death])
    RunReport([], 1.0, surroundings=Surroundings(edges, record=record)).trace(tmp_path / "run.json")
    events = json.loads((tmp_path / "run.json").read_text())["traceEvents"]
    assert [event["name"] for event in events if event["ph"] in "Xi"] == ["item 0", "worker died: killed by SIGKILL"]
    assert {event["args"]["name"] for event in events if event["name"] == "process_name"} == {"1 numbers", "2 killed"}
