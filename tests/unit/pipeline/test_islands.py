"""The cut of a plan into islands and what stays at home: pure, so no process is started."""

import pickle

import pytest

import pardata
from pardata.pipeline.home import home_plan
from pardata.pipeline.islands import islands_of
from pardata.pipeline.plan.node import Kind, Node
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.replica import Replica


def work(item):
    return item


def other(items):
    yield from items


def cut(*streams, iterated=True):
    """Names of the stages and of what leaves, for each island; and the names of the stages at home."""
    plan = Plan(*[stream._node for stream in streams], iterated=iterated)
    islands = islands_of(plan)
    stand_ins = [Node(Kind.MAP, "", work, workplace="thread", concurrency=9) for _ in islands]
    home = home_plan(plan, islands, stand_ins, {}, list) if islands else plan
    told = []
    for island in islands:
        replica = pickle.loads(pickle.dumps(Replica(island)))
        made = replica.plan([1], work)
        assert [stage.name for stage in made.stages[1:-1]] == [stage.name for stage in island.stages]
        assert [stage.index for stage in made.stages[1:-1]] == [stage.index for stage in island.stages]
        assert made.stages[0].own_sequence == island.sequence
        leaves = [stage.name + ("" if branch is None else str(branch)) for stage, branch in island.outlets]
        told.append(([stage.name for stage in island.stages], leaves))
    kept = {stage.name: stage for stage in plan.stages if not any(stage in island.stages for island in islands)}
    for stage in home.stages:
        if stage.name in kept:
            assert stage.sequences == kept[stage.name].sequences
            assert plan.is_consumer(kept[stage.name]) or stage.index == kept[stage.name].index
    return told, [stage.name for stage in home.worker_stages]


@pytest.fixture
def frames():
    return pardata.source(range(9))


def test_a_chain_leaves_and_its_source_and_sink_stay(frames):
    chain = frames.map(work, name="a", workers=3).filter(work, name="b").map(work, name="c", kind="thread")
    assert cut(chain) == ([(["a", "b", "c"], ["c"])], ["source", "a + b + c"])
    assert cut(chain.to([]), iterated=False) == ([(["a", "b", "c"], ["c"])], ["source", "a + b + c", "list"])


def test_an_island_at_the_end_of_a_run_has_no_outlet(frames):
    assert cut(frames.map(work, name="a"), iterated=False) == ([(["a"], [])], ["source", "a"])


def test_a_diamond_leaves_whole(frames):
    stem = frames.map(work, name="stem")
    joined = pardata.zip(stem.map(work, name="left"), stem.map(work, name="right")).map(work, name="end")
    assert cut(joined) == ([(["stem", "left", "right", "end"], ["end"])], ["source", "stem + left + right + end"])


def test_a_branch_may_be_the_entry_itself(frames):
    joined = pardata.zip(frames, frames.map(work, name="a")).map(work, name="end", workers=2)
    assert cut(joined) == ([(["a", "zip", "end"], ["end"])], ["source", "a + zip + end"])


def test_what_is_read_at_home_are_its_outlets(frames):
    stem = frames.map(work, name="stem")
    sinks = stem.map(work, name="a").to([]), stem.to([])
    told, home = cut(*sinks, iterated=False)
    assert told == [(["stem", "a"], ["stem", "a"])]
    assert home == ["source", "stem + a", "list", "list-2"]


def test_dead_letters_are_an_outlet_of_their_own(frames):
    good = frames.map(work, name="a", errors="stream")
    joined = pardata.merge(good, good.failed | other, policy="arrival")
    assert cut(joined)[0] == [(["a"], ["a0", "a1"])]
    woven = pardata.merge(good.map(work, name="b"), good.failed.map(work, name="c"), policy="ordered")
    assert cut(woven.map(work, name="end"))[0] == [(["a", "b", "c", "end"], ["end"])]


def test_what_numbers_anew_stays_and_ends_an_island(frames):
    stream = frames.map(work, name="a").batch(2).map(work, name="b") | other
    assert cut(stream) == ([(["a"], ["a"]), (["b"], ["b"])], ["source", "a", "batch(2)", "b", "other"])


@pytest.mark.parametrize("share", ["partition", "scatter"])
def test_what_shares_out_stays_and_each_branch_is_an_island(frames, share):
    one, two = frames.partition(work, 2) if share == "partition" else frames.scatter(2)
    merged = pardata.merge(one.map(work, name="a"), two.map(work, name="b"), policy="ordered")
    assert cut(merged.map(work, name="end")) == (
        [(["a"], ["a"]), (["b"], ["b"])], ["source", share if share == "scatter" else "work", "a", "b", "end"]
    )  # fmt: skip


def test_a_merge_by_arrival_stays_with_what_reads_two_numberings(frames):
    merged = pardata.merge(frames.map(work, name="a"), pardata.source(range(3)).map(work, name="b"))
    assert cut(merged.map(work, name="end"))[0] == [(["a"], ["a"]), (["b"], ["b"])]


def test_a_stage_stays_at_home_if_it_is_told_to(frames):
    stream = frames.map(work, name="a").map(work, name="b", on="home").filter(work, name="c", on="nodes")
    assert cut(stream)[0] == [(["a"], ["a"]), (["c"], ["c"])]
    with pytest.raises(pardata.ConfigError, match="on must be"):
        frames.map(work, on="mars")


def test_nothing_may_leave(frames):
    assert cut(frames | other) == ([], ["source", "other"])


def test_an_order_that_an_island_restores_is_restored(frames):
    mixed = frames.map(work, name="h", workers=2, ordered=False, on="home")
    joined = pardata.zip(mixed.map(work, name="a"), mixed.map(work, name="b")).map(work, name="end")
    plan = Plan(joined._node, iterated=True)
    islands = islands_of(plan)
    home = home_plan(plan, islands, [Node(Kind.MAP, "", work, workplace="thread", concurrency=9)], {}, list)
    assert plan.last.fanin.in_order and home.last.fanin.in_order
    assert islands[0].is_in_order


def test_messages_may_come_in_any_order_where_nothing_is_joined(frames):
    (island,) = islands_of(Plan(frames.map(work).map(work, workers=2)._node, iterated=True))
    assert not island.is_in_order
    assert not any(stage.fanin.in_order for stage in Replica(island).plan([], work).stages[1:])
