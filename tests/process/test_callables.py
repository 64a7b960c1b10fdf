"""What can be called can be a stage and a task, wherever it was defined: a script, a package's main module, a text."""

import subprocess
import sys
import textwrap

import pytest

HANG_S = 120

SCRIPT = """
import abc, dataclasses, enum, functools, math, operator, re, types, typing
import numpy as np
import pardata

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Point:
    x: int
    def doubled(self): return Point(2 * self.x)

class Pair(typing.NamedTuple):
    first: int

class Base:
    def __init__(self, x): self.x = x
    def name(self): return "base"

class Derived(Base):
    def name(self): return super().name() + "!"
    def __call__(self, y): return self.x + y
    @classmethod
    def make_name(cls, x): return cls(x).name()
    @staticmethod
    def static(x): return x + 1

def decorated(function):
    @functools.wraps(function)
    def wrapped(*args): return function(*args)
    return wrapped

@decorated
def once_more(x): return x + K

@functools.lru_cache
def cached(x): return x + K

@functools.singledispatch
def dispatched(x): return "object"

@dispatched.register
def _(x: int): return "int, not " + dispatched("text")

def factorial(x): return 1 if x <= 1 else x * factorial(x - 1)

def matched(x):
    match x:
        case Point(x=found): return found

SENTINEL = object()
K = 5

CASES = [
    (type, 1, "a"), (len, "ab"), (str.upper, "a"), ("-".join, ["a", "b"]), (int, "1"), (ValueError, "a"), (list, "ab"),
    (operator.itemgetter(0), "ab"), (operator.attrgetter("real"), 1), (operator.methodcaller("upper"), "a"),
    (np.sqrt, 4.0), (np.add.reduce, [1, 2]), (np.vectorize(lambda x: x + K), 1), (math.sqrt, 4), (np.char.upper, "a"),
    (functools.partial(pow, 2), 3), (functools.partial(lambda x, y: x + y, K), 3), ({"a": 1}.get, "a", "b"),
    (re.compile("a+").findall, "aab"), (int.__add__.__get__(3), 1), (str.__len__, "abc"),
    (Color, 1), (Point, 1), (Pair, 1), (Point.doubled, Point(1)), (matched, Point(3)), (Derived.name, Derived(1)),
    (Derived(1), 1), (Derived.make_name, 1), (Derived.static, 1), (Derived(1).__call__, 2),
    (once_more, 1), (cached, 1), (dispatched, 1, "a"), (factorial, 5), (lambda x: x + K, 1),
    (lambda color: color is Color.RED, Color.RED), (lambda x, default=SENTINEL: default is SENTINEL, 1),
    (lambda point: isinstance(point, Point), Point(1)), (lambda x: (lambda y: x + y)(1), 1),
]

def same(one, other):
    return type(one) is type(other) and repr(one) == repr(other)

def main():
    with pardata.WorkerPool(1) as pool:
        for fn, *items in CASES:
            expected = list(map(fn, items))
            found = list(pool.map(fn, items))
            assert len(found) == len(items) and all(map(same, found, expected)), (fn, found, expected)
        assert pool.submit(lambda: Color.RED).result() is Color.RED
        assert type(pool.submit(Point, 1).result()) is Point
        try:
            pool.submit(np.frompyfunc(lambda x: x, 1, 1), 1)
        except pardata.ConfigError as error:
            assert "numpy.vectorize" in str(error)
    streams = [pardata.source(items).map(fn) for fn, *items in CASES]
    for at in range(0, len(CASES), 7):
        sinks = [[] for _ in streams[at : at + 7]]
        pardata.run(*(stream.to(sink) for stream, sink in zip(streams[at : at + 7], sinks)))
        for found, (fn, *items) in zip(sinks, CASES[at:]):
            assert all(map(same, found, map(fn, items))), (fn, found)
    assert list(pardata.source([1]).map(type).iterate(engine="threads")) == [int]
    assert list(pardata.source([1]).map(type).iterate(engine="serial")) == [int]
    print("right")
"""

PACKAGE = """
from . import relative
from .relative import more
def with_relative(x):
    from . import relative as again
    return relative.more(x) + more(x) + again.more(x)
CASES.append((with_relative, 1))
main()
"""


@pytest.mark.parametrize("how", ["file", "package", "input", "text"])
def test_all_that_can_be_called(how, tmp_path):
    script, command, given = SCRIPT + "\nif __name__ == '__main__':\n    main()\n", ["script.py"], None
    if how == "package":
        package = tmp_path / "case_package"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "relative.py").write_text("def more(x): return x + 1")
        (package / "__main__.py").write_text(SCRIPT + PACKAGE)
        command = ["-m", "case_package"]
    elif how == "input":
        command, given = ["-"], script
    elif how == "text":
        (tmp_path / "text").write_text(SCRIPT)
        script = "space = {'__name__': 'made'}\nexec(open('text').read(), space)\nspace['main']()\n"
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, input=given, capture_output=True, text=True, timeout=HANG_S
    )
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
