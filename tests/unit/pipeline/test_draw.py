"""Pictures of streams: text that shows every edge, and an SVG that any viewer reads."""

import itertools
import xml.etree.ElementTree as ET

import pytest

import pardata
from pardata.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"


def work(item):
    return item


def source(name="source"):
    return pardata.source(range(3), name=name)


def diamond():
    stem = source().map(work, name="stem", workers=4)
    return pardata.zip(stem.map(work, name="left"), stem.map(work, name="right")).map(work, name="end")


def lines(text):
    return [line for line in text.strip("\n").split("\n")]


def test_chain_is_a_line_per_stage():
    assert str(source().map(work, workers=2).filter(work, name="some")) == "● source\n○ work ×2\n○ some"


def test_a_stage_that_shares_the_cores():
    assert str(source().map(work, workers="auto")) == "● source\n○ work ×auto"


def test_a_file_has_one_writer(tmp_path):
    plans = [str(source().to(tmp_path / "x.npy", kind=kind)) for kind in ("process", "thread")]
    assert plans == ["● source\n● x.npy (one process writes)", "● source\n● x.npy (one thread writes)"]


@pytest.mark.parametrize(("library", "name"), [("h5py", "x.h5"), ("tifffile", "x.tif"), ("zarr", "x.zarr")])
def test_a_sink_of_a_library_is_one_thread(library, name, tmp_path):
    pytest.importorskip(library)
    stream = source().map(work, workers=2).to(tmp_path / name)
    assert lines(str(stream))[-1] == f"● {name} (one thread writes)"
    assert f"{name} (one thread writes)" in stream._repr_svg_()


def test_branches_that_meet():
    assert lines(str(diamond())) == lines(
        """
● source
○ stem ×4
├─╮
○ │ left
│ ○ right
├─╯
○ end (zip of 2)
"""
    )


def test_lane_that_is_passed():
    a, b = source("a"), source("b")
    merged = pardata.merge(a.map(work, name="c"), b, a.map(work, name="d"))
    assert lines(str(merged)) == lines(
        """
● a
├─╮
○ │ c
│ │ ● b
│ ○ │ d
├─┴─╯
● merge of 3
"""
    )


def test_branches_are_named_at_their_readers():
    good = source().map(work, name="parse", errors="stream")
    text = str(pardata.merge(good.map(work, name="ok"), good.failed.map(work, name="bad")))
    assert "ok ← parse\n" in text
    assert "bad ← parse.failed" in text
    assert "high ← key[1]" in str(source().partition(work, 2, name="key")[1].map(work, name="high"))


def test_part_of_a_graph_can_be_drawn():
    """Also where a run would be refused: one branch is looked at, the other is not read yet."""
    assert str(source().partition(work, 2, name="key")[0]) == "● source\n● key"


def test_what_runs_on_the_nodes_of_a_cluster_is_marked():
    stream = source().map(work, name="away").map(work, name="here", on="home").batch(2).map(work, name="again").to([])
    assert lines(str(stream)) == ["● source", "○ away", "● here", "● batch(2)", "○ again", "● list"]
    root = ET.fromstring(stream._repr_svg_())
    frames = [rect.get("stroke-dasharray") is not None for rect in root.iter(f"{SVG}rect") if rect.get("rx")]
    assert frames == [False, True, False, False, True, False]


def test_svg_has_a_box_per_stage_and_a_path_per_edge():
    root = ET.fromstring(diamond()._repr_svg_())
    assert [text.text for text in root.iter(f"{SVG}text")] == ["source", "stem ×4", "left", "right", "end (zip of 2)"]
    assert len(list(root.iter(f"{SVG}path"))) == 5


def test_boxes_do_not_overlap_and_lie_within_the_picture():
    shared = source().map(work, name="a long name of a stage", workers=2)
    streams = [shared.map(work, name=f"branch {number}") for number in range(5)]
    joined = pardata.zip(*streams[:3]).map(work)
    root = ET.fromstring(pardata.merge(joined, *streams[3:], shared, source("other"))._repr_svg_())
    boxes = [
        tuple(float(rect.get(name)) for name in ("x", "y", "width", "height"))
        for rect in root.iter(f"{SVG}rect")
        if rect.get("rx")
    ]
    assert len(boxes) == 10
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    for x, y, w, h in boxes:
        assert x >= 0 and x + w <= float(root.get("width"))
        assert y >= 0 and y + h <= float(root.get("height"))


def test_names_are_escaped(tmp_path):
    stream = source().map(work, name="a < b & c")
    stream.draw(tmp_path / "graph.svg")
    root = ET.fromstring((tmp_path / "graph.svg").read_text())
    assert [text.text for text in root.iter(f"{SVG}text")] == ["source", "a < b & c"]


def test_pictures_are_svg_files(tmp_path):
    with pytest.raises(ConfigError, match="must end in .svg"):
        diamond().draw(tmp_path / "graph.png")
