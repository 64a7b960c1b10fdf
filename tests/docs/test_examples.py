"""The examples run as a user would run them."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
HANG_S = 300  # an example that hangs fails its test instead of blocking all


def run_example(name, *arguments):
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)


@pytest.fixture
def photographs(tmp_path):
    """A folder of four small PNG files of different shapes and modes, and one that is none."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in [("a", (40, 60, 3)), ("b", (64, 32)), ("d", (50, 50, 3)), ("e", (33, 47, 4))]:
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{name}.png")
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\nand nothing that belongs to a picture")
    return folder


def photos(folder, output, *arguments):
    """Run photos.py on `folder`; what it printed, and its files by name."""
    done = run_example("photos.py", "--input", folder, "--output", output, *arguments)
    assert done.returncode == 0, done.stderr
    return done, {path.name: path.read_bytes() for path in output.iterdir()}


def test_photos_gives_the_same_files_with_every_engine(photographs, tmp_path):
    _, expected = photos(photographs, tmp_path / "serial", "--engine", "serial")
    pictures = {f"{name}.png.edges.png" for name in "abde"}
    assert expected.keys() == pictures | {"photos.csv"}
    for engine, workers in [("processes", 1), ("processes", 3), ("threads", 2)]:
        _, files = photos(photographs, tmp_path / f"{engine}{workers}", "--engine", engine, "--workers", workers)
        assert files.keys() == expected.keys()
        assert [name for name in files if files[name] != expected[name]] == []


@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_photos_names_the_unreadable_file_and_goes_on(photographs, tmp_path, engine):
    done, files = photos(photographs, tmp_path / "out", "--engine", engine)
    assert "could not read c.png" in done.stderr
    assert "4 of 5 photographs" in done.stdout
    rows = list(csv.DictReader(files["photos.csv"].decode().splitlines()))
    assert [row["file"] for row in rows] == ["a.png", "b.png", "d.png", "e.png"]
    assert [(row["width"], row["height"]) for row in rows] == [("60", "40"), ("32", "64"), ("50", "50"), ("47", "33")]


def test_photos_annotates_the_photograph_beside_its_edges(photographs, tmp_path):
    photos(photographs, tmp_path / "out", "--engine", "serial")
    with Image.open(tmp_path / "out" / "a.png.edges.png") as picture:
        assert picture.width >= 2 * 60
        assert picture.height > 40
        strip = np.asarray(picture)[40:]
    assert strip.max() == 255 and strip.min() < 64  # dark letters on white


@pytest.mark.parametrize("content", ["no folder", "empty folder"])
def test_photos_says_what_is_wrong_with_its_input(tmp_path, content):
    folder = tmp_path / "photographs"
    if content == "empty folder":
        folder.mkdir()
    done = run_example("photos.py", "--input", folder, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert str(folder) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


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


def test_mosaic_gives_equal_results():
    done = run_example("mosaic.py", "--gigabytes", 0.02, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert "all results are equal" in done.stdout
    assert "pardata.WorkerPool.map_array" in done.stdout
    assert done.stderr == ""


def test_enrich_gives_the_same_through_every_lookup():
    done = run_example("enrich.py", "--rows", 20_000, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert "all results are equal" in done.stdout and "(unknown)" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[:3]] == ["table", "database", "service"]
    assert done.stderr == ""


def test_wordindex_finds_the_words_of_a_corpus():
    done = run_example("wordindex.py", "--megabytes", 4, "--workers", 2, "--ask", "import", "qqqqqq")
    assert done.returncode == 0, done.stderr
    assert "qqqqqq: 0 times in 0 documents, 0 pages read" in done.stdout
    found = next(line for line in done.stdout.splitlines() if line.startswith("import: "))
    assert int(found.split()[1]) > 100
    assert done.stderr == ""


def test_stack_denoises_a_film_from_file_to_file():
    done = run_example("stack.py", "--frames", 200, "--limit", 8)
    assert done.returncode == 0, done.stderr
    assert "film: 13 MB on disk, 8 MB of shared memory allowed" in done.stdout
    assert "the frames looked at are right" in done.stdout
    assert done.stderr == ""


def test_sweep_finds_the_same_on_both_backends():
    done = run_example("sweep.py", "--folds", 2, "--digits", 500)
    assert done.returncode == 0, done.stderr
    assert "best of both" in done.stdout
    assert done.stderr == ""
