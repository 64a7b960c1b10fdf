"""The sentence of advice: what holds up a run, and what more workers would bring."""

import math

from pardata.runtime.recording.advice import StageLoad, advice


def load(name, workers, busy_s, starved_s=0.0, blocked_s=0.0, **options):
    return StageLoad(name, workers, busy_s, starved_s, blocked_s, **options)


def test_more_workers_for_the_stage_that_holds_up_the_rest():
    told = advice([load("read", 1, 2, 0, 8, is_single=True), load("denoise", 2, 19, 1), load("save", 1, 5, 5)], 16)
    assert told == (
        "denoise holds up the rest: its 2 workers are busy 95% of the time; 2 more workers would give 1.9 times the "
        "items/s."
    )


def test_a_single_worker_is_one():
    told = advice([load("read", 1, 1, 0, 9), load("denoise", 1, 8, 2), load("save", 1, 5, 5)], 16)
    assert told.endswith("its one worker is busy 80% of the time; 1 more worker would give 1.6 times the items/s.")


def test_no_more_workers_than_cores_can_use():
    told = advice([load("denoise", 2, 20), load("save", 1, 1, 9)], 2)
    assert "The stages keep 2 cores busy: more workers help only if the function waits" in told


def test_a_stage_that_awaits_uses_no_core():
    told = advice([load("fetch", 1, 9, 1, awaits=True), load("work", 1, 2, 8)], 1)
    assert told.endswith("busy 90% of the time: a larger concurrency= awaits more of its calls at a time.")
    told = advice([load("work", 1, 9, 1), load("fetch", 2, 6, 4, awaits=True)], 4)
    assert told.endswith("2 more workers would give 3.0 times the items/s.")


def test_a_source_can_have_no_more_workers():
    told = advice([load("read", 1, 10, is_single=True), load("save", 1, 1, 9)], 8)
    assert told.endswith("it can have no more. Make it faster, or move work from it to a stage behind it.")


def test_another_stage_would_hold_up_the_rest_next():
    told = advice([load("a", 1, 10), load("b", 1, 9.8, 0.2), load("c", 1, 1, 9)], 8)
    assert told.endswith("More workers for it alone bring little: b would hold up the rest next.")


def test_waits_for_memory():
    told = advice([load("read", 1, 9, 1), load("save", 1, 3, 0, 7, memory_s=7)], 8)
    assert told.endswith("save waits 70% of its time for memory: raise memory_limit=, or keep fewer arrays.")


def test_the_loop_of_the_caller():
    told = advice([load("read", 1, 3, 0, 7), load("work", 2, 2, 6, 12)], 8)
    assert "read waits 70% of its time for what is behind it" in told


def test_nothing_at_all():
    assert advice([], 8) == advice([load("a", 1, 0)], 8) == "Nothing was worked on, so there is nothing to advise."
    assert "No stage is busy most of the time: a is busiest, 10%" in advice([load("a", 1, 1, 9)], 8)


def test_a_serial_run():
    told = advice([load("a", 1, 6), load("b", 1, 4)], 8, "serial")
    assert told == (
        'a takes 60% of the time of all stages. With engine="processes" the stages overlap: up to 1.7 times the '
        "items/s."
    )
    assert "times" not in advice([load("a", 1, 6), load("b", 1, 4)], 1, "serial")


def test_the_cores_of_nodes_are_not_known():
    told = advice([load("read", 1, 1, 9), load("work", 8, 79, 1)], math.inf)
    assert told.endswith("more workers would give 4.1 times the items/s, as far as there are cores for them.")
