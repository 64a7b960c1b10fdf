"""Checks of a trace by its documented format, and by what Perfetto and Chromium leave out of one."""

from collections import defaultdict

REQUIRED = {
    "M": {"name", "args"},
    "X": {"name", "ts", "dur"},
    "C": {"name", "ts", "args"},
    "s": {"name", "cat", "id", "ts"},
    "f": {"name", "cat", "id", "ts", "bp"},
    "i": {"name", "ts", "s"},
}
NAMED = {"process_name", "process_sort_index", "thread_name", "thread_sort_index"}


def check_format(trace):
    """Check all events; return the slices.

    To Perfetto a thread of number 0 is the one with the number of its process, and of slices that overlap in a thread
    one is dropped. Chromium drops arrows whose ends are in no slice.
    """
    by_kind, tracks = defaultdict(list), defaultdict(list)
    for event in trace["traceEvents"]:
        by_kind[event["ph"]].append(event)
        assert event.keys() >= REQUIRED[event["ph"]] | {"ph", "pid", "tid"}
        assert type(event["pid"]) is type(event["tid"]) is int and event["pid"] > 0
        assert event["ph"] == "M" or event["ts"] >= 0
    assert {event["name"] for event in by_kind["M"]} <= NAMED
    processes = {event["pid"] for event in by_kind["M"] if event["name"] == "process_name"}
    threads = {(event["pid"], event["tid"]) for event in by_kind["M"] if event["name"] == "thread_name"}
    assert not {number for _, number in threads} & {0, *processes}
    for event in by_kind["X"]:
        begin_ns = round(1000 * event["ts"])
        tracks[event["pid"], event["tid"]].append((begin_ns, begin_ns + round(1000 * event["dur"])))
    assert tracks.keys() <= threads
    for slices in tracks.values():
        times = [moment for each in sorted(slices) for moment in each]
        assert times == sorted(times)
    check_arrows(by_kind["s"], by_kind["f"], tracks)
    assert {(event["pid"], event["tid"]) for event in by_kind["i"]} <= threads
    times = [event["ts"] for event in by_kind["C"]]
    assert times == sorted(times) and all(event["args"]["bytes"] >= 0 for event in by_kind["C"])
    return by_kind["X"]


def check_arrows(starts, ends, tracks):
    """Arrows go forward in time, from a slice to a slice."""
    begun, ended = ({event["id"]: event for event in events} for events in (starts, ends))
    assert begun.keys() == ended.keys() and len(begun) == len(starts) == len(ends)
    for at, start in begun.items():
        assert start["ts"] <= ended[at]["ts"] and ended[at]["bp"] == "e"
        for event in (start, ended[at]):
            at_ns = round(1000 * event["ts"])
            assert any(begin <= at_ns <= end for begin, end in tracks[event["pid"], event["tid"]])
