"""The trace of a long graph is large: it is written piece by piece."""

import json
import tracemalloc

import numpy as np

from pardata.runtime.progress import RunReport
from pardata.runtime.recording.record import GraphEdge, RunRecord, Surroundings, WorkerRecord
from pardata.runtime.recording.recorder import CALL_WORDS, SAMPLE_WORDS, Recorded

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
    assert arrows[:2] == [(1, 0.499), (2, 0.499)]
    assert len([event for event in events if event["ph"] == "X"]) == STAGES * CALLS
