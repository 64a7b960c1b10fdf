"""The parts of the docs that are made from the code: `python -m tests.docs.generate` writes them.

A part stands in its page between `<!-- made: NAME -->` and `<!-- end made -->`. A test compares each with what is made
of it now.
"""

import ast
import inspect
import re
from functools import partial
from pathlib import Path

from pardata.channel.takeover import FINDINGS
from pardata.memory.named import lifecycle as manager_lifecycle
from pardata.pipeline import lifecycle as run_lifecycle
from pardata.pool import lifecycle as pool_lifecycle
from pardata.process import lifecycle as worker_lifecycle
from tests.docs.api import api
from tests.layers.layers import LAYERS, PURE

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pardata"


def _first_line(path):
    return ast.get_docstring(ast.parse(path.read_text())).partition("\n")[0]


def _rows_of(layer):
    """Yield the rows of a layer: its folder, and the folders in it; of a layer that is one file, that file."""
    folder = PACKAGE / layer
    if not folder.is_dir():
        yield f"| `{layer}.py` | {_first_line(PACKAGE / f'{layer}.py')} |"
        return
    for init in sorted(folder.rglob("__init__.py")):
        yield f"| `{init.parent.relative_to(PACKAGE)}/` | {_first_line(init)} |"


def layers():
    """Return the layers as one line: a group of the list is above all that stand to its left."""
    return " < ".join(" \\| ".join(f"`{layer}`" for layer in group) for group in LAYERS)


def folders():
    """Return the table of folders, layer by layer."""
    rows = [row for group in LAYERS for layer in group for row in _rows_of(layer)]
    return "\n".join(["| in `pardata/` | |", "|---|---|", *rows])


def pure_files():
    """Return the table of pure files."""
    paths = [f"{module.replace('.', '/')}.py" for module in PURE]
    return "\n".join(["| pure | |", "|---|---|", *(f"| `{path}` | {_first_line(PACKAGE / path)} |" for path in paths)])


def decisions():
    """Return the list of the records of decisions, with their titles."""
    paths = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    titles = [path.read_text().partition("\n")[0].removeprefix("# ") for path in paths]
    return "\n".join(f"* [{title}](decisions/{path.name})" for title, path in zip(titles, paths, strict=True))


def life_of(what, table, *more):
    """Return a life cycle as a table: each event of each state, the next state, and what else its rows have."""
    cells = [[f"{what} that is", "what happens", "becomes", *more], ["---"] * (3 + len(more))]
    for state, steps in table.items():
        for event, after in steps.items():
            row = after if isinstance(after, tuple) else (after,)
            cells.append([part.value for part in (state, event, *row)])
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def takeover():
    """Return the decisions of a successor as a table: the words that it reads, what they say, and what it does."""
    cells = [["words", "what they say", "what the successor does"], ["---"] * 3]
    for kind, findings in FINDINGS.items():
        about = inspect.getdoc(kind).partition("\n")[0]
        cells += [[f"`{kind.__name__}`: {about}", finding.says, finding.step.value] for finding in findings]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


PARTS = {
    "layers": layers,
    "folders": folders,
    "pure files": pure_files,
    "api": api,
    "decisions": decisions,
    "takeover": takeover,
    "life of a worker": partial(life_of, "a worker", worker_lifecycle._TABLE, "its owner does"),
    "life of a run": partial(life_of, "a run", run_lifecycle._TABLE),
    "life of a pool": partial(life_of, "a pool", pool_lifecycle._TABLE),
    "life of a manager": partial(life_of, "a manager", manager_lifecycle._TABLE),
}
_PART = re.compile(r"(<!-- made: ([^>]+) -->\n)(?:(?!<!-- ).)*(<!-- end made -->)", re.DOTALL)


def remade(text):
    """Return the text of a page with its parts made anew."""
    return _PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


def pages():
    """Return the text that each page with such parts is to have."""
    made = {path: remade(path.read_text()) for path in sorted((ROOT / "docs").glob("*.md"))}
    return {path: text for path, text in made.items() if "<!-- made: " in text}


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text)
