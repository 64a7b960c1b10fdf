"""Looking at a stream: one item through all stages, and who waits for whom when nothing moves."""

import time
from pathlib import Path

import numpy as np
import pytest

import pardata
from pardata.errors import ConfigError
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.totals import totals


def mean_level(frame):
    return frame.mean()


def double(frame):
    return frame * 2


def test_dry_run_tells_what_each_stage_makes(tmp_path):
    frames = pardata.source(np.zeros((5, 20, 30), np.float32)).map(double)
    stream = pardata.zip(frames, frames.map(mean_level)).batch(1).to(tmp_path / "x.npy")
    dry = stream.dry_run(np.ones((4, 6)))
    made = {edge.stage: (edge.items, edge.first, edge.nbytes) for edge in dry.edges}
    assert made["source"] == (1, "float64 (4, 6)", 192)
    assert made["double"] == (1, "float64 (4, 6)", 192)
    assert made["mean_level"][:2] == (1, "float64 ()")
    assert made["batch(1)"][:2] == (1, "list of 1: tuple of 2: float64 (4, 6), float64 ()")
    assert made["x.npy"][0] == 0
    assert not list(tmp_path.iterdir())  # sinks are left out
    assert all(edge.seconds >= 0 for edge in dry.edges)
    assert "float64 (4, 6)" in str(dry).split("\n")[2]


def test_dry_run_takes_the_first_item_of_each_source():
    a, b = pardata.source(np.zeros((5, 3))), pardata.source(range(7), name="b")
    assert [edge.first for edge in pardata.merge(a, b).dry_run().edges] == ["float64 (3,)", "int", "float64 (3,)"]


def test_dry_run_pairs_by_position_what_one_item_of_each_source_gives():
    source = pardata.source
    for stream, other, gives in (
        (source(range(10)).skip(1), source(range(9)), 0),
        (source(range(5)).window(3), source(range(3)), 0),
        (source(range(3)).flat_map(lambda x: [x, x]), source(range(6)), 1),
        (source([[1, 2], [3]]).unbatch(), source(range(3)), 1),
        (source([[1, 2], [3]]).unbatch(), source([[1, 2, 3]]).unbatch(), 2),
        (source(range(2)), source(range(2)), 1),
    ):
        for streams in ((stream, other), (other, stream)):
            pairs = pardata.zip(*streams, by="position").map(list, name="pairs")
            made = len(list(pairs.iterate(engine="serial")))
            edges = {edge.stage: edge for edge in pairs.dry_run().edges}
            assert made >= edges["pairs"].items == gives
            assert edges["pairs"].first == ("list of 2: int, int" if gives else "nothing")
    longer = pardata.zip(source(range(6)), source(range(3)).flat_map(lambda x: [x] * 5, name="many"), by="position")
    assert {edge.stage: edge.items for edge in longer.dry_run().edges}["many"] == 5  # it is run to its end
    with pytest.raises(pardata.LossError, match="different numbers of items"):
        list(longer.iterate(engine="serial"))


def test_dry_run_needs_an_item_where_a_source_is_read_once():
    with pytest.raises(ConfigError, match="can be read only once"):
        pardata.source(iter(range(3))).map(abs).dry_run()
    assert pardata.source(iter(range(3))).map(abs).dry_run(-3).edges[1].first == "int"
    with pytest.raises(ConfigError, match="an item for each source"):
        pardata.source(range(3)).dry_run(1, 2)


def test_error_of_a_dry_run_is_the_users():
    with pytest.raises(ZeroDivisionError):
        pardata.source(range(3)).map(lambda x: 1 / x).dry_run()


def test_totals_of_the_bars():
    numbers, letters = pardata.source(range(30)), pardata.source(iter("abc"))
    kept = numbers.map(abs).filter(len).map(abs)
    joined = pardata.merge(numbers.map(abs), pardata.source([1, 2])).map(abs)
    paired = pardata.zip(numbers.map(abs), numbers).map(len)
    assert list(totals(Plan(kept._node, iterated=False)).values()) == [30, 30, 30, None]
    assert list(totals(Plan(joined._node, iterated=False)).values()) == [30, 30, 2, 32]
    assert list(totals(Plan(paired._node, iterated=False)).values()) == [30, 30, 30]
    assert list(totals(Plan(letters.map(str)._node, iterated=True)).values()) == [None, None]


def test_worker_is_called_by_the_name_of_its_stage():
    def title(x):
        return Path("/proc/self/comm").read_text().strip()

    found = pardata.source([1]).map(title, name="a long name of a stage")
    assert list(found) == ["a long name o:0"]


def test_run_shows_how_far_it_is():
    with pardata.source(range(5)).map(abs, chunksize=1).iterate(engine="serial") as run:
        next(run)
        assert repr(run) == "<SerialRun, open: source 1, abs 1 items>"


def test_function_that_gets_all_items_by_mistake():
    with pytest.raises(TypeError) as caught:
        list(pardata.source(range(5)) | (lambda x: x * x))
    assert "For a function of one item use stream.map" in caught.value.__notes__[0]


def test_run_that_stands_still_says_who_waits_for_whom():
    def hang(x):
        if x == 3:
            time.sleep(3600)
        return x

    stream = pardata.source(range(100)).map(abs).map(hang, name="slow", chunksize=1).map(abs, name="behind")
    with pytest.raises(RuntimeWarning) as caught:  # as an error, here: pyproject.toml
        stream.run(stall_s=0.3)
    text = str(caught.value)
    assert "nothing has moved for at least 0.3 s" in text
    assert "stage 'slow': works on item 3 for" in text
    assert "stage 'behind': waits for 'slow'" in text
    assert "stage 'source': waits for a message to come out at the end, or memory" in text
