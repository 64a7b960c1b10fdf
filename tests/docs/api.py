"""The reference of all public names, as Markdown: made from signatures and docstrings as they stand in the sources."""

import ast
import functools
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pardata
import pardata.files
import pardata.torch

SUBJECTS = {
    "pipeline": "Streams",
    "runtime": "Streams",
    "pool": "Pools",
    "feeding": "Training loops",
    "torch": "Training loops",
    "memory": "Shared memory",
    "queue": "Queues",
    "lookup": "Look-ups",
    "files": "Files",
    "data": "Files",
    "errors": "Errors",
}
_SPECIAL = {"__or__", "__getitem__", "__setitem__", "__len__", "__iter__", "__next__", "__contains__", "__call__"}
_MADE_BY_PARDATA = ["Feed", "Run", "Stream", "RemoteError", "RemoteTraceback", "WorkerLostError"]
_MAKERS = [  # of objects whose classes have no public name
    pardata.Stream.dry_run,
    pardata.worker,
    pardata.WorkerPool.results,
    pardata.serve,
    pardata.files.split,
    pardata.PagedFile.create,
    pardata.files.read_pieces,
]
_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)


# -- the sources -------------------------------------------------------------------------------------------------------


@functools.cache
def _source(module):
    text = Path(sys.modules[module].__file__).read_text()
    return text.splitlines(), ast.parse(text)


def _node(made):
    """Return the lines of the file in which a class or function is defined, and its node there."""
    lines, tree = _source(made.__module__)
    return lines, next(node for node in tree.body if getattr(node, "name", None) == made.__name__)


def _signature(lines, node):
    """Return the head of a function as it stands in its file, as it is called: without `self`."""
    head = lines[node.lineno - 1 : node.body[0].lineno - 1] or [lines[node.lineno - 1]]
    text = "\n".join(line[node.col_offset :].split("  #")[0] for line in head)
    text = text.removesuffix(" ...").rstrip().removesuffix(":").removeprefix("def ")
    return re.sub(r"\((\s*)(?:self|cls)(?:, /)?(?:,\s*|(?=\)))", r"(\1", text, count=1)


def _fields(lines, node):
    """Return the lines that declare the fields of a dataclass or a NamedTuple."""
    if not _has_decorator(node, "dataclass") and "NamedTuple" not in map(ast.unparse, node.bases):
        return []
    made = [child for child in node.body if isinstance(child, ast.AnnAssign) and not child.target.id.startswith("_")]
    return [line.strip() for child in made for line in lines[child.lineno - 1 : child.end_lineno]]


def _members(kind):
    """Yield (name, lines, node, docstring) of each documented public member of a class, those of its bases included."""
    documents = {}
    for base in (base for base in kind.__mro__ if base.__module__.startswith("pardata")):
        lines, node = _node(base)
        for child in node.body:
            if isinstance(child, ast.FunctionDef) and (not child.name.startswith("_") or child.name in _SPECIAL):
                documents.setdefault(child.name, []).append((lines, child, ast.get_docstring(child)))
    for name, found in documents.items():
        document = next((text for _, _, text in found if text), None)
        if document:
            yield name, found[0][0], found[0][1], document


def _has_decorator(node, *names):
    called = [getattr(decorator, "func", decorator) for decorator in node.decorator_list]
    return any(ast.unparse(decorator).rpartition(".")[2] in names for decorator in called)


# -- as Markdown -------------------------------------------------------------------------------------------------------


def _prose(text):
    """Return text of a docstring as Markdown."""
    parts = re.split(r"(``.*?``|`.*?`)", text, flags=re.DOTALL)
    plain = [part.replace("<", "\\<").replace("*", "\\*") for part in parts[::2]]
    code = [f"`{part.strip('`')}`" for part in parts[1::2]] + [""]
    return "".join(text for pair in zip(plain, code, strict=True) for text in pair).strip()


def _entries(text, are_named):
    """Return the entries of a section as a list: each begins at the margin, and what is told of it is indented."""
    made = []
    for line in text.strip("\n").splitlines():
        name, colon, kind = line.partition(" : ")
        if not line.strip():
            made.append("")
        elif line[0] == " ":
            made.append(f"  {_prose(line)}")
        elif colon or are_named:
            made.append(f"* `{name}`{colon}{_prose(kind)}")
        else:
            made.append(f"* {_prose(line)}")
    return "\n".join(made)


def _paragraphs(text):
    """Return paragraphs as Markdown: examples as code, all else as prose."""
    parts = [part.replace("  # doctest: +SKIP", "") for part in text.strip().split("\n\n")]
    return "\n\n".join(_code(part) if part.startswith(">>>") else _prose(part) for part in parts)


def _document(text):
    """Return a docstring as Markdown: paragraphs, and sections of entries."""
    first, *sections = _SECTION.split(text)
    made = [_paragraphs(first)]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        are_named = title in ("Parameters", "Attributes", "Raises")
        is_list = are_named or title in ("Returns", "Yields")
        made.append(f"**{title}**\n\n{_entries(body, are_named) if is_list else _paragraphs(body)}")
    return "\n\n".join(made)


def _code(text):
    return f"```py\n{text}\n```"


def _function(name, made):
    lines, node = _node(made)
    signature = _signature(lines, node).replace(node.name, name.rpartition(".")[2], 1)  # by the name that is public
    return [f"### `{name}`", _code(signature), _document(ast.get_docstring(node))]


def _head(kind):
    """Return how an object of a class is made, or, of one that only pardata makes, what it has."""
    for base in (base for base in kind.__mro__ if base.__module__.startswith("pardata")):
        lines, node = _node(base)
        made = next((child for child in node.body if getattr(child, "name", "") == "__init__"), None)
        if made is not None and kind.__name__ not in _MADE_BY_PARDATA + [_returned(call).__name__ for call in _MAKERS]:
            return _signature(lines, made).replace("__init__", kind.__name__, 1).removesuffix(" -> None")
    lines, node = _node(kind)
    bases = ", ".join(map(ast.unparse, node.bases))
    fields = [f"    {line}" for line in _fields(lines, node)]
    return "\n".join([f"class {kind.__name__}" + (f"({bases})" if bases else ""), *fields])


def _class(name, kind):
    made = [f"### `{name}`", _code(_head(kind)), _document(inspect.cleandoc(kind.__doc__))]
    own = inspect.getdoc(kind.__init__) if "__init__" in kind.__dict__ else None
    if own and own != inspect.getdoc(object.__init__):
        made.append(_document(own))
    for member, lines, node, document in _members(kind):
        is_property = _has_decorator(node, "property", "cached_property")
        title = f"{kind.__name__}.{member}"
        made.append(f"#### `{title}`")
        if not is_property:
            made.append(_code(_signature(lines, node)))
        made.append(_document(document))
    return made


def _returned(call):
    """Return the class that the annotation of a function names: what it returns, or what is in the list it returns."""
    [name] = re.findall(r"(\w+)\]?$", call.__annotations__["return"])
    return call.__globals__[name]


def public_names():
    """Yield (name, object) of all that is public; what lies in both modules once, and what calls return at the end."""
    for name in pardata.__all__:
        if not isinstance(getattr(pardata, name), ModuleType):
            yield f"pardata.{name}", getattr(pardata, name)
    for name in pardata.files.__all__:
        if name not in pardata.__all__:
            yield f"pardata.files.{name}", getattr(pardata.files, name)
    for name in pardata.torch.__all__:
        yield f"pardata.torch.{name}", getattr(pardata.torch, name)
    for kind in map(_returned, _MAKERS):
        yield kind.__name__, kind


def _subject(made):
    return SUBJECTS[made.__module__.split(".")[1]]


def api():
    """Return the reference: a table of the names, then a section for each subject."""
    names = list(public_names())
    subjects = dict.fromkeys(SUBJECTS.values())
    rows = [
        f"| {subject} | {', '.join(f'`{name}`' for name, made in names if _subject(made) == subject)} |"
        for subject in subjects
    ]
    made = ["\n".join(["| | |", "|---|---|", *rows])]
    for subject in subjects:
        made.append(f"## {subject}")
        for name, thing in names:
            if _subject(thing) == subject:
                made += _class(name, thing) if inspect.isclass(thing) else _function(name, thing)
    return "\n\n".join(made)
