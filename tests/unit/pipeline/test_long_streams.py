"""Nothing that walks a graph nests calls: a stream may be longer than Python's stack is deep."""

import copy
import pickle
import sys

import pytest

import pardata
from pardata.pipeline.plan.node import inputs_first
from pardata.pipeline.plan.plan import Plan

STAGES = 2 * sys.getrecursionlimit()


def longer(stream):
    for _ in range(STAGES):
        stream = stream.map(abs)
    return stream


@pytest.fixture(scope="module")
def long_stream():
    return longer(pardata.source(range(5)))


def test_plan_has_every_stage_behind_its_input(long_stream):
    plan = Plan(long_stream._node, iterated=True)
    assert len(plan.stages) == STAGES + 2
    assert [edge.stage.index for stage in plan.stages[1:] for edge in stage.edges] == list(range(STAGES + 1))


def test_plan_of_branches_in_a_row():
    stream = pardata.source(range(5))
    for _ in range(STAGES // 4):
        stream = pardata.merge(*stream.scatter(2), policy="ordered")
    assert len(Plan(stream.map(abs)._node, iterated=False).stages) == STAGES // 4 + 2


@pytest.mark.parametrize("show", [repr, str, lambda stream: repr(stream._node), lambda stream: stream._repr_svg_()])
def test_it_is_shown(long_stream, show):
    assert "abs" in show(long_stream)


@pytest.mark.parametrize("again", [lambda stream: pickle.loads(pickle.dumps(stream)), copy.deepcopy])
def test_it_is_pickled_and_copied(long_stream, again):
    made = again(long_stream)
    assert made._node is not long_stream._node
    assert [node.name for node in inputs_first(made._node)] == [node.name for node in inputs_first(long_stream._node)]


def test_what_two_streams_share_is_shared_by_their_copies():
    stem = pardata.source(range(5)).map(abs)
    left, right = pickle.loads(pickle.dumps((stem.map(float), stem.map(str))))
    assert list(pardata.zip(left, right).iterate(engine="serial")) == [(float(n), str(n)) for n in range(5)]


def test_inputs_stand_before_what_reads_them():
    stem = pardata.source(range(5))
    last = pardata.zip(stem.map(abs), stem).map(max)._node
    nodes = inputs_first(last)
    assert nodes[-1] is last
    assert len(nodes) == len(set(nodes)) == 4
    assert all(nodes.index(given) < nodes.index(node) for node in nodes for given in node.inputs)
