"""Cuts through a whole graph: what the stages have told fits together, and each knows what is behind its cut."""

import random

from pardata.codec.batch_codec import CUT, Batch
from pardata.pipeline.plan.cut_line import CutLine, CutStage
from pardata.pipeline.plan.cuts import Cuts
from pardata.pipeline.programs import cuts
from pardata.pipeline.programs.reached import Reached

# Two sources, 0 and 1; a filter of each, which begins 2 and 3; a join of both, which begins 4; two sinks.
FILTERS = [CutStage(10, [0], 2), CutStage(11, [1], 3)]
JOIN = CutStage(12, [2, 3], 4)
SINKS = [CutStage(13, [4], None), CutStage(14, [2], None)]


def line(starts=()):
    return CutLine([*FILTERS, JOIN, *SINKS], dict(starts))


def test_a_cut_goes_through_all_stages():
    made = line()
    for stage, taken, count in [(10, 50, 5), (11, 70, 7), (14, 5, 0), (10, 60, 6)]:
        assert made.note(stage, (taken,), count) is None
    assert made.note(12, (5, 7), 12) is None
    cut = made.note(13, (12,), 0)
    assert cut.numbers == {0: 50, 1: 70, 2: 5, 3: 7, 4: 12} and cut.stages[12] == ((5, 7), 12)
    assert made.commit(cut) == [(10, (0,)), (11, (0,)), (12, (0, 0)), (13, (0,)), (14, (0,))]
    assert made.note(14, (6,), 0) is None  # the join is not there yet
    assert made.note(12, (6, 7), 15) is None
    assert made.note(13, (15,), 0).numbers == {0: 60, 1: 70, 2: 6, 3: 7, 4: 15}
    assert made.note(12, (2, 9), 20) is None  # of a successor that has begun with the run's begin


def test_a_run_that_goes_on_begins_with_its_cut():
    made = line()
    for stage, taken, count in [(10, (50,), 5), (11, (70,), 7), (14, (5,), 0), (12, (5, 7), 12), (13, (12,), 0)]:
        cut = made.note(stage, taken, count)
    again = line(cut.stages)
    assert again.cut == cut


def test_whatever_comes_first_no_stage_is_ahead_of_another_one():
    draw = random.Random(3)
    for _ in range(200):
        steps = [[(10, (10 * n,), n), (14, (n,), 0)] for n in range(1, 9)] + [[(11, (10 * n,), n)] for n in range(1, 9)]
        a = b = 0
        for _ in range(11):
            a, b = min(8, a + draw.randrange(2)), min(8, b + draw.randrange(2))
            steps.append([(12, (a, b), 2 * (a + b)), (13, (2 * (a + b),), 0)])
        told = [event for step in steps for event in step]
        made, numbers = line(), {}
        by_stage = {stage: [event for event in told if event[0] == stage] for stage in (10, 11, 12, 13, 14)}
        while any(by_stage.values()):  # the reports of one stage come in their order
            event = by_stage[draw.choice([stage for stage, left in by_stage.items() if left])].pop(0)
            if (cut := made.note(*event)) is not None:
                assert all(cut.numbers[sequence] >= number for sequence, number in numbers.items())
                assert cut.numbers[0] == 10 * cut.numbers[2] and cut.numbers[1] == 10 * cut.numbers[3]
                assert cut.numbers[4] == 2 * (cut.numbers[2] + cut.numbers[3])
                numbers = cut.numbers
                if draw.random() < 0.5:
                    made.commit(cut)
        assert made.note(12, (8, 8), 32) is None or made.note(13, (32,), 0) is not None


def batch(sequence, number, count=1, is_cut=False, positions=None):
    items = list(range(number, number + count)) if positions is None else [number + place for place in positions]
    return Batch(sequence, number, count, CUT * is_cut, items, positions)


def test_the_last_cut_of_each_input_counts_and_what_is_behind_it_is_left_out_the_next_time():
    reached = Reached({0: 0, 1: 1}, (0, 0))
    reached.take(batch(0, 0, 5))
    reached.take(batch(1, 0, 3))
    assert reached.pass_cut(batch(0, 5, 2, is_cut=True)) == (5, 0)
    reached.take(batch(0, 5, 2))
    assert reached.pass_cut(batch(0, 5, 2, is_cut=True)) is None  # it came again
    assert reached.pass_cut(batch(1, 3, is_cut=True)) == (5, 3) and reached.position == {0: 7, 1: 3}
    again = Reached({0: 0, 1: 1}, (5, 3))
    again.go_on(reached.position)
    assert again.trimmed(batch(0, 4, 6)).items == [7, 8, 9]
    assert again.trimmed(batch(0, 4, 6, positions=[1, 2, 4])).items == [8]
    assert again.trimmed(batch(0, 5, 2)).items == [] and again.trimmed(batch(1, 3)).items == [3]
    again.take(batch(0, 5, 2))
    assert again.position == {0: 7, 1: 3}
    again.take(batch(1, 3, 4))
    assert again.end() == (7, 7)


def test_a_numbering_that_comes_in_twice_is_at_the_lower_of_its_cuts():
    reached = Reached({0: 0, 5: 0}, (0,))
    assert reached.pass_cut(batch(0, 10, is_cut=True)) is None
    assert reached.pass_cut(batch(5, 10, is_cut=True)) == (10,)


def test_pairs_count_when_both_halves_are_there():
    reached = Reached({0: 0, 1: 1}, (0, 0), is_paired=True)
    reached.take(batch(0, 0, 9))
    reached.take(batch(1, 0, 4))
    assert reached.position == {0: 4, 1: 4}


def test_a_successor_goes_by_what_was_saved():
    reached, successor = Reached({0: 0}, (0,)), Reached({0: 0}, (0,))
    reached.pass_cut(batch(0, 10, is_cut=True))
    reached.take(batch(0, 10, 5))
    successor.load(reached.save())
    assert successor.pass_cut(batch(0, 10, is_cut=True)) is None and successor.end() == (15,)


def test_few_cuts_are_made_before_one_is_committed(monkeypatch, tmp_path):
    now, committed = [0.0], [()]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(cuts, "commit_times", lambda folder: committed[0])
    clock, marked = cuts.Clock(Cuts(str(tmp_path), 0, 1.0, {}, {}), 0), []
    for second in range(3600):
        now[0] = float(second)
        marked += [second] if clock.mark(second) else []
        if second >= 3000:
            committed[0] = (second,)
    assert marked[:5] == [1, 3, 7, 15, 31] and len([second for second in marked if second <= 3000]) == 11
    assert marked[11:] == [*range(3001, 3600)]
