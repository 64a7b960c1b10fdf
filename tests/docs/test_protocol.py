"""docs/protocol.md names the windows in which tests kill a process, and tests and code that there are."""

import ast
import re
from collections import defaultdict
from pathlib import Path

from tests.faults.windows import TRAPS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text()
TEST_FILES = sorted((ROOT / "tests").rglob("test_*.py"))
SOURCES = [*(ROOT / "pardata").rglob("*.py"), *TEST_FILES]


def rows(heading):
    """The first cell of each row of the table below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    return cells[1:]  # without the head


def functions_of(path):
    return set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))


def test_each_window_has_one_row_and_each_row_a_window():
    assert sorted(rows("Windows")) == sorted(TRAPS)


def test_each_place_where_a_parent_or_a_joined_queue_is_killed_has_a_row():
    kills = [name for path in TEST_FILES for name in functions_of(path) if name.endswith("_killed_between")]
    section = PAGE.split("\n## Other windows\n")[1].split("\n## ")[0]
    assert sorted(set(re.findall(r"::(test_\w+_killed_between)`", section))) == sorted(kills)


def test_each_kill_of_a_queue_has_a_row():
    killing = {name for name in functions_of(ROOT / "tests/faults/test_queue.py") if name.startswith("test_killed_")}
    section = PAGE.split("\n## Queues\n")[1]
    assert set(re.findall(r"`(test_killed_\w+)`", section)) == killing
    assert len(rows("Queues")) == len(killing)


def sync_points(folder):
    """The places that name each ordering: per name, the functions (of a mention elsewhere, None)."""
    places = defaultdict(set)
    for path in sorted((ROOT / folder).rglob("*.py")):
        code = path.read_text()
        functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
        for number, line in enumerate(code.splitlines(), 1):
            for name in re.findall(r"SYNC POINT: ([a-z ]*[a-z])", line):
                inside = [node.name for node in functions if node.lineno <= number <= node.end_lineno]
                places[name].add((path, inside[-1] if inside else None))
    return places


def test_each_ordering_is_named_on_two_sides():
    sides = {name: [place for place in places if place[1]] for name, places in sync_points("pardata").items()}
    assert {name: places for name, places in sides.items() if len(places) < 2} == {}


def test_each_ordering_has_one_row_those_of_channels_and_queues_the_first():
    told, others = rows("Orderings"), rows("Other orderings")
    assert sorted(told + others) == sorted(sync_points("pardata"))
    assert not {*sync_points("pardata/channel"), *sync_points("pardata/queue")} & set(others)


def test_what_sleeps_to_look_again_has_a_row():
    section = (ROOT / "docs" / "design.md").read_text().split("\n## What looks again\n")[1].split("\n## ")[0]
    sleeping = [path for path in (ROOT / "pardata").rglob("*.py") if re.search(r"\bsleep\(", path.read_text())]
    assert sleeping
    assert [path for path in sleeping if f"`{path.relative_to(ROOT / 'pardata')}" not in section] == []


def test_tests_on_the_page_exist():
    named = re.findall(r"`(?:(tests/\S+\.py)::)?(test_\w+)`", PAGE)
    assert named
    everywhere = set().union(*map(functions_of, TEST_FILES))
    unknown = [name for path, name in named if name not in (functions_of(ROOT / path) if path else everywhere)]
    assert unknown == []


def test_files_and_names_on_the_page_exist():
    code = "\n".join(path.read_text() for path in SOURCES)
    words = set(re.findall(r"\w+", code))
    quoted = set(re.findall(r"`([A-Za-z_][\w.]*)`", PAGE))
    assert len(quoted) > 30
    assert [name for name in quoted if not set(name.split(".")) <= words] == []
    assert [path for path in re.findall(r"`(tests/[\w/]+\.py)", PAGE) if not (ROOT / path).exists()] == []
