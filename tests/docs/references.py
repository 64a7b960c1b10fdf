"""Where the docs name files and functions of the project: what they name, and whether it exists.

In a page, `channel/sender.py` is a file below pardata/ or the project, and behind a colon stands a class,
function, method or constant in it: `channel/sender.py: Sender.prepare`.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TOPS = ("pardata", "tests", "docs", "examples", "benchmarks", "findings", ".ci")
_PATH = re.compile(r"`((?:\.?\w[\w.-]*/)*[\w-]+\.py|(?:\.?\w[\w-]*/){2,})(?:: ([\w.]+(?:, [\w.]+)*))?`")


def references(text):
    """Yield (path, names) of each file or folder that a page names."""
    for found in _PATH.finditer(text):
        yield found[1], (found[2] or "").split(", ") if found[2] else []


def place_of(path):
    """Return the file or folder that `path` names; None: there is none."""
    tops = [ROOT] if path.startswith(_TOPS) else [ROOT / top for top in ("pardata", "examples", "benchmarks/scenarios")]
    return next((top / path for top in tops if (top / path).exists()), None)


def _names_in(body, prefix=""):
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _names_in(node.body, f"{prefix}{node.name}.")
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name):
                yield prefix + target.id


def missing(text):
    """Return what a page names that does not exist."""
    lost = []
    for path, names in references(text):
        place = place_of(path)
        if place is None:
            lost.append(path)
        elif names:
            there = set(_names_in(ast.parse(place.read_text()).body))
            lost += [f"{path}: {name}" for name in names if name not in there]
    return lost
