"""`python -m pardata top`, without processes: plates, counts of headers, and the lines of a screen."""

import os
import struct
import sys
from types import SimpleNamespace

import pytest

from pardata.memory.budget import CONTROL, LIVE
from pardata.runtime import header
from pardata.runtime.watching import plates
from pardata.runtime.watching.counts import Pace, Seen, SeenStage, pace, seen_in
from pardata.runtime.watching.plates import POOL, RUN, WORKER, Plate, read_plate
from pardata.runtime.watching.screen import Look, lines_of
from pardata.runtime.watching.segments import _own_number, command_of

NOW_NS = 20_000_000_000
KEY = (1, 2)


class Page:
    """Memory of one span."""

    def __init__(self, plate=None, **words):
        self.map = bytearray(plates.HEADER_BYTES)
        if plate is not None:
            plates._write(self, 0, plate)
        for name, value in words.items():
            place = {"LIVE": LIVE, "CONTROL": CONTROL}.get(name)
            place = getattr(header, name) if place is None else place
            struct.pack_into("q", self.map, 8 * place, value)


def home(kind=RUN, at=100, name="", begun_ns=10_000_000_000):
    return Plate(kind, at, 4711, begun_ns, 1_000_000, 0, name)


def worker(place, name, at=100):
    return Plate(WORKER, at, 0, 0, 0, place, name)


def seen(pages):
    return seen_in(KEY, {at: bytes(page.map) for at, page in pages.items()}, NOW_NS)


@pytest.mark.parametrize("name", ["map", "", "größer" * 3, "x" * 5000, "\ud800"])
def test_a_plate_is_read_as_it_was_written(name):
    found = read_plate(bytes(Page(worker(7, name)).map))
    told = name.encode("utf-8", "replace").decode()
    assert found._replace(name="") == worker(7, "") and told.startswith(found.name)
    assert found.name == told or len(found.name) > 300


def test_a_header_without_a_plate_has_none():
    assert read_plate(bytes(plates.HEADER_BYTES)) is None
    assert read_plate(b"\xff" * plates.HEADER_BYTES) is None
    assert plates.PLATE_AT + 8 * 8 < plates.HEADER_BYTES


def test_the_workers_of_a_stage_are_added_up():
    run, pool = home(), home(POOL, 900, "pool")
    (found, other) = seen({
        0: Page(LIVE=5, CONTROL=6),
        100: Page(run, LIVE=10, CONTROL=20),
        200: Page(worker(1, "map"), LIVE=30, ITEMS=7, BUSY_NS=3, INCARNATION=3, CURRENT_CALL=1, BEGUN_NS=NOW_NS - 4),
        300: Page(worker(1, "map"), ITEMS=8, STARVED_NS=3, INCARNATION=1, WAITS_FOR=header.STARVED_NS,
                  BEGUN_NS=NOW_NS - 2),
        400: Page(worker(1, "map"), STARVED_NS=99, RESTS=1),
        500: Page(worker(0, "read"), ITEMS=20, FAILED=2, BLOCKED_NS=1, INCARNATION=1, WAITS_FOR=header.MEMORY,
                  BEGUN_NS=NOW_NS - 5),
        600: Page(worker(0, "of another run", 700)),
        900: Page(pool), 1000: Page(worker(0, "pool", 900), ITEMS=1, INCARNATION=1, WAITS_FOR=header.ENDED),
    })  # fmt: skip
    assert (found.is_pool, found.used_bytes, found.limit_bytes, found.pid) == (False, 71, 1_000_000, 4711)
    read, mapped = found.stages
    assert read == SeenStage("read", 1, 20, 2, blocked_ns=6)
    assert mapped == SeenStage("map", 2, 15, 0, 7, 5, 0, 30, 2)
    assert (other.is_pool, other.name, other.used_bytes) == (True, "pool", 0)
    assert other.stages == [SeenStage("pool", 1, 1)]


def test_the_pace_is_that_since_the_last_look():
    before, now = SeenStage("a", items=5, busy_ns=100, starved_ns=50), SeenStage("a", 1, 25, 0, 130, 60, 0)
    assert pace(now, before, 2.0) == Pace(10.0, 0.75, 0.25, 0.0)
    assert pace(now, None, 5.0).per_s == 5.0
    assert pace(now, now, 1.0) == Pace(0.0, 0.0, 0.0, 0.0)


def look(*runs, at_ns=NOW_NS):
    return Look(at_ns, runs, {4711: "python x.py"})


def run_of(stages, at=100, **counts):
    made = [SeenStage(f"stage{i}", 1, i, busy_ns=i + 1, starved_ns=100, **counts) for i in range(stages)]
    return Seen((KEY, at, 10_000_000_000), False, "", 4711, 10_000_000_000, 10**9, 10**6, made)


def test_nothing_to_show_is_said():
    assert lines_of(look(), None) == ["No runs and no pools of this user's are at work."]


def test_all_is_shown_without_a_terminal():
    lines = lines_of(look(run_of(40)), None)
    assert lines[0] == "run of process 4711, 10 s, memory 1.0 MB of 1.0 GB: python x.py"
    assert lines[1].split() == ["stage", "workers", "items", "items/s", "busy", "starved", "blocked", "memory",
                                "restarts", "failed"]  # fmt: skip
    assert [line.split()[:3] for line in lines[2:-1]] == [[f"stage{i}", "1", str(i)] for i in range(40)]


@pytest.mark.parametrize("width", [10, 20, 40, 80, 200])
@pytest.mark.parametrize("height", [1, 2, 5, 24, 60])
@pytest.mark.parametrize(("runs", "stages"), [(1, 1), (1, 30), (3, 12), (9, 2)])
def test_a_screen_is_never_overrun(width, height, runs, stages):
    lines = lines_of(look(*(run_of(stages, at) for at in range(runs))), None, width, height)
    assert 0 < len(lines) <= height and all(len(line) <= width for line in lines)


def test_where_there_are_many_stages_the_busiest_stay():
    lines = lines_of(look(run_of(30)), None, 80, 22)
    names = [line.split()[0] for line in lines if line.startswith("  stage") and "workers" not in line]
    assert names == [f"stage{i}" for i in range(30 - len(names), 30)] and len(names) > 15
    assert f"... and {30 - len(names)} more stages, none of them busy for more than" in "\n".join(lines)


def test_runs_that_have_no_room_are_counted():
    lines = lines_of(look(*(run_of(2, at) for at in range(9))), None, 80, 24)
    assert lines[-1].startswith("... and ") and lines[-1].endswith("more; a terminal with more lines shows them")


def test_a_name_cannot_change_the_terminal():
    run = run_of(1)
    run.stages[0].name = "\x1b[2Jbad\nname"
    assert any("?[2Jbad?name" in line for line in lines_of(look(run), None))


def test_a_long_name_is_cut_before_a_column_is():
    run = run_of(2)
    run.stages[0].name = "n" * 100
    lines = lines_of(look(run), None, 80)
    assert "nnn…" in lines[2] and "failed" in lines[1]
    assert "failed" not in lines_of(look(run), None, 60)[1] and "busy" in lines_of(look(run), None, 30)[1]


def test_a_process_has_its_number_in_its_own_container():
    assert _own_number(os.getpid()) == os.getpid() and _own_number(1 << 30) == 1 << 30
    assert "python" in command_of(os.getpid()) and command_of(1 << 30) == ""


def test_a_limit_that_no_word_holds_is_the_largest():
    page, image = Page(), SimpleNamespace(span=SimpleNamespace(offset=0))
    plates.hang_plates(page, image, RUN, "", sys.maxsize + 4096, [])  # what is there already counts beside the user's
    assert read_plate(bytes(page.map)).limit_bytes == sys.maxsize
