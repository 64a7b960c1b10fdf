"""The graph of a run, checked before anything starts."""

import re
from pathlib import Path

import numpy as np
import pytest

import pardata
from pardata.channel.window import Window
from pardata.errors import ConfigError, PlanError
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan


def source(name="source"):
    return pardata.source(range(3), name=name)


def work(item):
    return item


def generator(items):
    yield from items


def plan_of(stream, iterated=False, cores=1):
    return Plan(stream._node, iterated=iterated, cores=cores)


def stage_of(plan, name):
    return next(stage for stage in plan.stages if stage.name == name)


def names(stages):
    return [stage.name for stage in stages]


# -- the graph ---------------------------------------------------------------------------------------------------------


def test_chain_becomes_its_stages_in_order():
    plan = plan_of(source().map(work, name="a").filter(work, name="b") | generator)
    assert names(plan.stages) == ["source", "a", "b", "generator"]
    assert [stage.kind for stage in plan.stages] == [Kind.SOURCE, Kind.MAP, Kind.FILTER, Kind.GENERATOR]
    assert plan.last is plan.stages[-1]


def test_iterated_plan_ends_with_a_consumer_that_is_no_worker():
    plan = plan_of(source().map(work), iterated=True)
    assert names(plan.stages) == ["source", "work", "consumer"]
    assert names(plan.worker_stages) == ["source", "work"]
    assert names(plan_of(source().map(work)).worker_stages) == ["source", "work"]


def test_stream_that_is_used_twice_is_one_stage_with_two_consumers():
    shared = source().map(work, name="shared")
    plan = plan_of(pardata.zip(shared.map(work, name="left"), shared.map(work, name="right")))
    assert names(plan.stages) == ["source", "shared", "left", "right", "zip"]
    assert names(stage_of(plan, "shared").consumers) == ["left", "right"]


def test_inputs_come_before_what_reads_them():
    a = source("a").map(work, name="b")
    joined = pardata.merge(pardata.zip(a, a.map(work, name="c")).map(work, name="d"), source("e"))
    plan = plan_of(joined.map(work, name="f"))
    for stage in plan.stages:
        assert all(edge.stage.index < stage.index for edge in stage.edges)
    assert [stage.index for stage in plan.stages] == list(range(len(plan.stages)))


def test_stages_of_the_same_name_are_told_apart():
    plan = plan_of(source().map(work).map(work).map(work))
    assert names(plan.stages) == ["source", "work", "work-2", "work-3"]


# -- joins -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("join", [pardata.zip, pardata.merge])
def test_single_worker_joins_its_inputs_itself(join):
    left, right = source("a").map(work, name="l"), source("b").map(work, name="r")
    if join is pardata.zip:
        left, right = (source("a").map(work, name="l"),) * 2
    plan = plan_of(join(left, right).map(work, name="joined"))
    assert join.__name__ not in names(plan.stages)
    assert len(stage_of(plan, "joined").edges) == 2
    assert stage_of(plan, "joined").fanin.is_zipped is (join is pardata.zip)
    assert stage_of(plan, "joined").fn is work


def test_consumer_and_generator_filter_join_their_inputs_themselves():
    merged = pardata.merge(source("a"), source("b"))
    assert names(plan_of(merged, iterated=True).stages) == ["a", "b", "consumer"]
    assert names(plan_of(merged | generator).stages) == ["a", "b", "generator"]


def test_join_for_several_workers_is_a_stage_of_its_own():
    plan = plan_of(pardata.merge(source("a"), source("b")).map(work, workers=2))
    assert names(plan.stages) == ["a", "b", "merge", "work"]
    assert stage_of(plan, "merge").fn is None


def test_join_that_is_used_twice_is_a_stage_of_its_own():
    merged = pardata.merge(source("a"), source("b"))
    plan = plan_of(pardata.merge(merged.map(work, name="l"), merged.map(work, name="r")))
    assert names(plan.stages) == ["a", "b", "merge", "l", "r", "merge-2"]


# -- sequences ---------------------------------------------------------------------------------------------------------


def test_stages_of_one_source_share_its_numbering():
    plan = plan_of(source().map(work).filter(work))
    assert [stage.sequences for stage in plan.stages] == [{0}, {0}, {0}]
    assert [stage.own_sequence for stage in plan.stages] == [0, None, None]


def test_generator_filter_begins_a_numbering_of_its_own():
    plan = plan_of((source() | generator).map(work))
    assert [stage.sequences for stage in plan.stages] == [{0}, {1}, {1}]
    assert stage_of(plan, "generator").taken_sequences == {0}


def test_merge_has_the_numberings_of_all_its_inputs():
    plan = plan_of(pardata.merge(source("a"), source("b")))
    assert plan.last.sequences == {0, 1}
    assert [edge.renamed for edge in plan.last.edges] == [{}, {}]


def test_branches_of_one_source_are_told_apart_behind_a_merge():
    shared = source()
    plan = plan_of(pardata.merge(shared, shared.map(work), shared.map(work, name="other")))
    assert [edge.renamed for edge in plan.last.edges] == [{}, {0: 1}, {0: 2}]
    assert plan.last.sequences == plan.last.taken_sequences == {0, 1, 2}
    assert plan.roots == [0, 0, 0]


def test_renamed_numberings_are_renamed_again_in_the_next_merge():
    shared = source()
    twice = pardata.merge(shared, shared.map(work))
    plan = plan_of(pardata.merge(twice.map(work, name="l"), twice.map(work, name="r")))
    renamed = [edge.renamed for edge in plan.last.edges]
    assert renamed[0] == {}
    assert set(renamed[1]) == {0, 1}
    assert len(plan.last.sequences) == 4
    assert plan.roots == [0, 0, 0, 0]


def test_tokens_return_at_the_last_stage_and_at_generator_filters():
    plan = plan_of((source().map(work) | generator).map(work, name="last"))
    retired = {stage.name: stage.retired_sequences for stage in plan.stages}
    assert retired == {"source": set(), "work": set(), "generator": {0}, "last": {1}}


# -- zip ---------------------------------------------------------------------------------------------------------------


def test_zip_of_different_sources_is_refused_with_the_line_of_the_user():
    with pytest.raises(PlanError, match=re.escape(f"zip ({__file__}:")) as caught:
        plan_of(pardata.zip(source("a").map(work, name="left"), source("b").map(work, name="right")))
    assert "must come from the same source" in str(caught.value)
    assert "left, right do not" in str(caught.value)


def test_zip_over_a_generator_filter_is_refused():
    shared = source()
    with pytest.raises(PlanError, match="nothing that numbers items anew may lie in between"):
        plan_of(pardata.zip(shared, shared | generator))


def test_zip_behind_one_generator_filter_is_allowed():
    shared = source() | generator
    assert plan_of(pardata.zip(shared.map(work), shared.filter(work, name="f"))).last.fanin.is_zipped


def test_zip_of_branches_of_one_merge_is_allowed():
    merged = pardata.merge(source("a"), source("b"))
    assert plan_of(pardata.zip(merged.map(work), merged.map(work, name="other"))).last.sequences == {0, 1}


# -- in place ----------------------------------------------------------------------------------------------------------


def test_in_place_is_refused_where_another_stage_reads_the_same_items():
    shared = source().map(work, name="shared")
    stream = pardata.zip(shared.map(work, name="changes", inplace=True), shared.map(work, name="reads"))
    with pytest.raises(PlanError) as caught:
        plan_of(stream)
    message = str(caught.value)
    assert f"stage 'changes' ({__file__}:" in message
    assert "reads reads the output of 'shared' as well" in message


def test_in_place_is_refused_for_a_stream_that_is_zipped_with_itself():
    shared = source().map(work, name="shared")
    with pytest.raises(PlanError, match=r"but \w+ reads the output of 'shared'"):
        plan_of(pardata.zip(shared, shared).map(work, name="changes", inplace=True))


def test_in_place_behind_a_fan_out_is_allowed():
    shared = source().map(work, name="shared")
    branch = shared.map(work, name="branch").map(work, name="changes", inplace=True)
    assert plan_of(pardata.zip(branch, shared)).last.fanin.is_zipped


# -- order -------------------------------------------------------------------------------------------------------------


def test_stages_take_in_order_by_default():
    plan = plan_of(source().map(work, workers=3).map(work, name="next"))
    assert [stage.ordered for stage in plan.stages] == [True, True, True]
    assert stage_of(plan, "next").fanin.in_order
    assert not stage_of(plan, "work").fanin.in_order  # each of its workers takes what it gets


def test_what_is_handed_on_unordered_is_taken_as_it_comes():
    plan = plan_of(source().map(work, workers=3, ordered=False).map(work, name="next"), iterated=True)
    assert [stage.fanin.in_order for stage in plan.stages[2:]] == [False, False]


def test_zip_and_generator_filter_make_order_out_of_what_has_none():
    shared = source().map(work, ordered=False, name="mixed")
    plan = plan_of(pardata.zip(shared, shared.map(work, name="other")).map(work, name="pairs"), iterated=True)
    assert stage_of(plan, "pairs").fanin.in_order
    assert stage_of(plan, "consumer").fanin.in_order
    plan = plan_of(shared | generator, iterated=True)
    assert not stage_of(plan, "generator").fanin.in_order
    assert stage_of(plan, "consumer").fanin.in_order


# -- batches and tokens ------------------------------------------------------------------------------------------------


def test_without_a_wish_items_are_batched_automatically():
    assert plan_of(source().map(work)).chunksizes == {0: None}


def test_least_chunksize_of_the_stages_that_items_pass_counts():
    plan = plan_of(source().map(work, chunksize=8).map(work, chunksize=3).map(work))
    assert plan.chunksizes == {0: 3}


def test_chunksize_behind_a_generator_filter_is_its_own():
    plan = plan_of((source().map(work, chunksize=8) | generator).map(work, chunksize=2))
    assert plan.chunksizes == {0: 8, 1: 2}


def test_chunksize_in_one_branch_counts_for_the_source():
    shared = source()
    plan = plan_of(pardata.merge(shared.map(work, chunksize=5), shared.map(work, chunksize=4, name="other")))
    assert plan.chunksizes[0] == 4


def test_chunksize_behind_a_merge_counts_for_all_its_sources():
    shared = source("a")
    plan = plan_of(pardata.merge(source("b"), shared, shared.map(work)).map(work, chunksize=6))
    assert {plan.chunksizes[root] for root in set(plan.roots)} == {6}


def test_window_is_two_tokens_per_worker_and_one_per_stage_and_wide_for_small_batches():
    assert plan_of(source().map(work, workers=4)).window() == Window(2 * 5 + 2, 4 * 32)
    assert plan_of(source().map(work, workers=4), iterated=True).window() == Window(2 * 5 + 3, 4 * 32)
    assert plan_of(source().map(work)).window() == Window(2 * 2 + 2, 64)
    assert plan_of(source().map(work, workers=4)).window(7) == Window(7, 7)
    window = Window(3, 8)
    assert [window.allows(2, 0, 1 << 40), window.allows(3, 0, 10)] == [True, False]
    assert [window.allows(5, 1, 10), window.allows(6, 1, 10), window.allows(8, 100, 10)] == [True, False, False]
    assert [window.allows(3, 9, 1 << 18), window.allows(4, 9, 1 << 18)] == [True, False]  # 1 MiB in all


# -- workers="auto" ----------------------------------------------------------------------------------------------------


def two_autos():
    stem = source().map(work, workers=2, name="said").map(work, workers="auto", name="first")
    return stem.map(work, kind="thread", name="thread").filter(work, workers="auto", name="second")


@pytest.mark.parametrize("iterated", [False, True])
@pytest.mark.parametrize(("cores", "each"), [(1, 1), (4, 1), (5, 2), (9, 6)])
def test_stages_that_share_the_cores_leave_one_for_each_other(cores, each, iterated):
    plan = plan_of(two_autos(), iterated, cores)
    assert [stage_of(plan, name).workers for name in ("said", "first", "second")] == [2, each, each]
    assert [stage_of(plan, name).first_workers for name in ("said", "first", "second")] == [2, 1, 1]


def test_messages_in_flight_are_for_the_workers_that_may_be_at_work():
    assert plan_of(two_autos(), cores=9).window().fewest == 2 * (1 + 2 + 1 + 7) + 5
    assert plan_of(two_autos(), cores=1).window().fewest == 2 * (1 + 2 + 1 + 2) + 5


def test_a_plan_is_narrowed_where_there_is_no_room():
    plan = plan_of(two_autos(), cores=12)
    plan.narrow(3)
    assert [stage_of(plan, name).workers for name in ("said", "first", "second")] == [2, 3, 3]


def test_messages_are_made_for_the_workers_that_begin():
    assert plan_of(two_autos(), cores=64).widths == {0: 2}


def test_the_graph_does_not_depend_on_the_cores():
    stream = pardata.zip(source := pardata.source(range(3)), source.map(work)).map(work, workers="auto")
    assert names(plan_of(stream, cores=1).stages) == names(plan_of(stream, cores=8).stages)


# -- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "): workers must be an int of at least 1, not 0"),
        ({"workers": 2.0}, "workers must be an int of at least 1, not 2.0"),
        ({"workers": None}, "workers must be an int of at least 1, not None"),
        ({"workers": "many"}, "workers must be an int of at least 1, not 'many' (or \"auto\")"),
        ({"chunksize": 0}, 'chunksize must be "auto" or an int of at least 1 (items per message), not 0'),
        ({"chunksize": "many"}, "chunksize must be \"auto\" or an int of at least 1 (items per message), not 'many'"),
        ({"errors": "ignore"}, 'errors must be "raise", "skip" or "stream", not \'ignore\''),
    ],
)
def test_wrong_option_is_named_where_it_is_given(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        source().map(work, **options)


def test_one_is_enough():
    plan = plan_of(source().map(work, workers=1, chunksize=1))
    assert plan.chunksizes == {0: 1}


def test_numpy_ints_are_ints():
    plan = plan_of(source().map(work, workers=np.int64(2), chunksize=np.int32(3)))
    assert stage_of(plan, "work").workers == 2
    assert plan.chunksizes == {0: 3}


@pytest.mark.parametrize("fn", [None, 5, "text", [work]])
def test_stage_without_a_function_is_refused(fn):
    with pytest.raises(ConfigError, match="a function is needed"):
        source().map(fn)


def test_stages_know_the_line_of_the_user_who_wrote_them():
    stream = source().map(work)  # this line
    path, line = stream._node.where.rsplit(":", 1)
    assert Path(path) == Path(__file__)
    assert "# this line" in Path(__file__).read_text().splitlines()[int(line) - 1]


def test_scatter_takes_in_order_so_that_nobody_behind_it_waits_for_what_it_has_not_taken():
    unordered = source().map(work, workers=3, ordered=False)
    plan = plan_of(pardata.merge(*unordered.scatter(2), policy="ordered"), iterated=True)
    assert stage_of(plan, "scatter").fanin.in_order
    assert stage_of(plan, "scatter").ordered


def test_two_sinks_that_make_one_file_are_refused(tmp_path):
    numbers = pardata.source(range(3))
    ends = [stream.to(tmp_path / "a.npy") for stream in (numbers.map(abs), numbers.map(float))]
    for options in ({}, {"checkpoint": tmp_path / "c"}):
        with pytest.raises(PlanError, match=r"is to make .*a\.npy, as a\.npy \(.*\) is: give it another name"):
            pardata.run(*ends, engine="serial", **options)
    pardata.run(ends[0], ends[0], engine="serial")
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
