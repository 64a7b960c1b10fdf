"""The fingerprint of a job is the same in every process, whatever the order of its sets."""

import os
import subprocess
import sys

SAME = """
import argparse, collections, enum, functools, operator, pathlib, re, sys
import numpy as np

LEVELS = {"low", "high", "middle"}
NAMES = collections.OrderedDict(a=1)

class Mode(enum.Enum):
    FAST = 1

def one(x, levels=(1.5, "a", (2, None))):
    return x in {"p", "q", "r"}, (1.5, "a", (2, None)), LEVELS

def two(x):
    import json
    return one(x), (1.5, "a", (2, None)), NAMES, Mode.FAST

class Work:
    __slots__ = ("a", "b")
    def __init__(self):
        self.a = frozenset(LEVELS)
    def __call__(self, x):
        return two(x), x is None

made = [one, two, Work(), Work, functools.lru_cache(two), functools.singledispatch(two), re.compile("a|b"),
        pathlib.Path("a"), operator.attrgetter("a"), np.vectorize(two), np.dtype("f4,i4"), argparse.Namespace(a=LEVELS),
        functools.partial(two, x=np.ones(3)), np.random.default_rng(), object(), enum.Enum, sys.stdout, LEVELS]
"""


def test_in_other_processes_it_is_the_same(tmp_path):
    (tmp_path / "same.py").write_text(SAME)
    code = "from pardata.checkpoint.fingerprint import digest; import same; print([digest(part) for part in same.made])"
    told = set()
    for seed in ("1", "2"):  # the second one takes the compiled module from the disk
        path = os.pathsep.join([str(tmp_path), os.getcwd(), *sys.path[1:]])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}
        told.add(subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True).stdout)
    assert len(told) == 1, [list(zip(*map(eval, told), strict=True))]
