"""A function runs in a worker as it is here: in modules that were reloaded, edited or patched, or that no worker finds.

One pool lives through all of it: its workers have imported what was there before. Each run of a stream has fresh ones.
"""

import argparse
import functools
import gc
import importlib
import importlib.util
import os
import runpy
import subprocess
import sys
import threading
import types
import warnings
import weakref
from importlib.machinery import SourceFileLoader

import joblib
import numpy as np
import pytest

import pardata
from pardata.modules import changes

case_pk = None  # a package, set by `package`


@pytest.fixture(scope="module")
def pool():
    with pardata.WorkerPool(1) as made:
        yield made


@pytest.fixture(autouse=True)
def own_imports(monkeypatch):
    """Modules and entries of the path are there for one test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "case_" in name:
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    """A function that writes a module, and returns its file."""

    def write_(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    return write_


@pytest.fixture
def here(tmp_path):
    """The folder of the modules, on the path."""
    sys.path.insert(0, str(tmp_path))
    return tmp_path


@pytest.fixture
def check(pool):
    """Compare what workers give for each of some items with what this process gives."""

    def check_(fn, *items):
        expected = [fn(item) for item in items]
        assert list(pool.map(fn, items)) == expected
        for engine in ("serial", "threads", "processes"):
            assert list(pardata.source(items).map(fn).iterate(engine=engine)) == expected, engine

    return check_


def by_path(name, path, **options):
    spec = importlib.util.spec_from_file_location(name, path, **options)
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


# -- modules that a worker does not find -------------------------------------------------------------------------------

POINT = """
class Point:
    def __init__(self, x):
        self.x = x
    def __eq__(self, other):
        return type(other) is Point and self.x == other.x

def make(x):
    return Point(x)

def is_point(point):
    return isinstance(point, Point)
"""


def test_modules_loaded_by_path(write, check, pool):
    helper = by_path("case_helper", write("sub/case_helper.py", "def twice(x): return 2 * x"))
    module = by_path("case_point", write("sub/case_point.py", f"import case_helper\n{POINT}"))
    other = write("settings.conf", "GAIN = 3\ndef gain(x): return GAIN * x")
    renamed = by_path("case_conf", other, loader=SourceFileLoader("case_conf", str(other)))
    check(module.make, 1)
    check(module.is_point, module.Point(1))
    check(lambda x: (helper.twice(x), renamed.gain(x)), 1)
    check(renamed.gain, 1)
    assert type(pool.submit(module.make, 1).result()) is module.Point


def test_packages_whose_entry_of_the_path_is_gone(write, here, check):
    write("case_package/__init__.py", "from case_package.inner import half\ndef two(x): return half(4 * x)")
    write("case_package/inner.py", "def half(x): return x / 2")
    import case_package

    sys.path.remove(str(here))
    check(case_package.two, 3)
    check(lambda x: case_package.inner.half(x), 3)


@pytest.mark.parametrize("entry", ["", "sub"])
def test_relative_entries_after_a_change_of_the_directory(write, check, monkeypatch, tmp_path, entry):
    write(f"{entry or '.'}/case_relative{len(entry)}.py", "def f(x): return x + 1")
    monkeypatch.chdir(tmp_path)
    sys.path.insert(0, entry)
    module = importlib.import_module(f"case_relative{len(entry)}")
    os.chdir("/")
    check(module.f, 1)


def test_entries_that_have_come_since_the_pool_began(write, here, check):
    write("case_late.py", "import case_later\ndef f(x): return case_later.g(x)")
    write("case_later.py", "def g(x): return x * 2")
    import case_late

    check(case_late.f, 2)


def test_files_that_are_gone(write, here, check):
    path = write("case_gone.py", "K = 5\ndef g(x): return x + K\ndef f(x): return g(x)")
    import case_gone

    path.unlink()
    check(case_gone.f, 2)
    check(lambda x: case_gone.f(x), 2)


class Finder:
    """Finds a module that has no file."""

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name == "case_virtual" else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(f"K = 7\ndef f(x): return x + K\n{POINT}", module.__dict__)


def test_modules_of_a_finder(check, pool):
    sys.meta_path.append(Finder())
    import case_virtual

    def imports_it(x):
        import case_virtual as found

        return found.f(x)

    check(case_virtual.f, 2)
    check(lambda x: case_virtual.f(x), 2)
    check(imports_it, 2)
    check(case_virtual.is_point, case_virtual.Point(1), 5)
    assert type(pool.submit(case_virtual.make, 1).result()) is case_virtual.Point
    passed_on = pardata.source([1]).map(case_virtual.make).map(case_virtual.is_point)
    assert list(passed_on) == [True]
    assert type(next(iter(pardata.source([1]).map(case_virtual.make)))) is case_virtual.Point


def test_modules_without_files_that_others_import(write, here, check):
    made = types.ModuleType("case_made")
    exec("import threading\nlock = threading.Lock()\nK = [1]\ndef f(x): return x + K[0]", made.__dict__)
    sys.modules["case_made"] = made
    write("case_user.py", "import case_made\nfrom case_made import f\ndef g(x): return case_made.f(x) + f(x)")
    import case_user

    check(case_user.g, 1)
    made.K[0] = 5
    check(made.f, 1)
    check(case_user.g, 1)


# -- modules that have changed -----------------------------------------------------------------------------------------


def test_edited_and_reloaded_modules(write, here, check):
    text = "def g(x): return 'old'\ndef f(x): return g(x)"
    write("case_edited.py", text)
    import case_edited

    check(case_edited.f, 1)
    write("case_edited.py", text.replace("old", "newer"))
    assert case_edited.f(1) == "old"
    check(case_edited.f, 1)
    check(lambda x: case_edited.f(x), 1)
    importlib.reload(case_edited)
    assert case_edited.f(1) == "newer"
    check(case_edited.f, 1)


def test_a_module_that_was_edited_before_its_first_use(write, here, check):
    write("case_early.py", "def g(x): return 'old'\ndef f(x): return g(x)")
    import case_early

    write("case_early.py", "def g(x): return 'newer'\ndef f(x): return g(x)")
    assert case_early.f(1) == "old"
    check(case_early.f, 1)
    check(lambda x: case_early.g(x), 1)


def test_a_reloaded_module_behind_others(write, here, check):
    write("case_behind.py", "def g(x): return 'old'")
    write("case_front.py", "import case_behind\nfrom case_behind import g\ndef f(x): return case_behind.g(x), g(x)")
    import case_behind
    import case_front

    check(case_front.f, 1)
    write("case_behind.py", "def g(x): return 'newer'")
    importlib.reload(case_behind)
    assert case_front.f(1) == ("newer", "old")
    check(case_front.f, 1)
    importlib.reload(case_front)
    check(case_front.f, 1)
    check(lambda x: case_front.f(x), 1)


def test_functions_whose_code_was_replaced(write, here, check):
    """IPython's autoreload puts the new code into the old functions."""
    write("case_auto.py", "def f(x): return 'old'")
    import case_auto

    f = case_auto.f
    check(f, 1)
    write("case_auto.py", "def f(x): return 'newer'")
    importlib.reload(case_auto)
    f.__code__ = case_auto.f.__code__
    case_auto.f = f
    assert f(1) == "newer"
    check(f, 1)
    check(lambda x: f(x), 1)


def test_patched_modules_and_classes(write, here, check):
    write("case_patched.py", "def g(x): return 'old'\ndef f(x): return g(x)\nclass C:\n    def m(self): return 'old'\n"
          "def h(x): return C().m()")  # fmt: skip
    import case_patched

    old = case_patched.g
    check(case_patched.f, 1)
    case_patched.g = lambda x: "patched"
    check(case_patched.f, 1)
    case_patched.g = old
    check(case_patched.f, 1)
    check(case_patched.h, 1)
    case_patched.C.m = lambda self: "patched"
    assert case_patched.h(1) == "patched"
    check(case_patched.h, 1)


def test_decorated_functions_of_a_reloaded_module(write, here, check):
    text = """
import functools
def decorate(fn):
    @functools.wraps(fn)
    def wrapped(*args): return fn(*args)
    return wrapped
@decorate
def decorated(x): return 'old'
@functools.lru_cache
def cached(x): return 'old'
@functools.singledispatch
def dispatched(x): return 'old'
double = (lambda factor: lambda x: factor * x)(2)
def uses_double(x): return double(x)
"""
    write("case_decorated.py", text)
    import case_decorated as module

    for _ in range(2):
        for name in ("decorated", "cached", "dispatched", "uses_double"):
            check(getattr(module, name), 1)
        check(lambda x: (module.decorated(x), module.cached(x), module.dispatched(x)), 1)
        write("case_decorated.py", text.replace("old", "newer"))
        importlib.reload(module)
    assert module.cached(1) == "newer"


def test_classes_of_a_reloaded_module(write, here, check, pool):
    text = f"""
import enum
class Base:
    def name(self): return 'old'
class Derived(Base):
    def name(self): return super().name() + '!'
class Color(enum.Enum):
    RED = 1
def name(x): return Derived().name()
def is_red(color): return color is Color.RED
{POINT}
"""
    write("case_classes.py", text)
    import case_classes as module

    for _ in range(2):
        check(module.name, 1)
        check(module.is_red, module.Color.RED)
        check(module.is_point, module.Point(1))
        check(module.make, 1)
        check(lambda x: module.Derived().name(), 1)
        assert type(pool.submit(module.make, 1).result()) is module.Point
        assert pool.submit(lambda: module.Color.RED).result() is module.Color.RED
        assert list(pardata.source([1]).map(module.make).map(module.is_point)) == [True]
        write("case_classes.py", text.replace("old", "newer"))
        importlib.reload(module)


# -- attributes that were set at run time ------------------------------------------------------------------------------

SETTINGS = """
import logging, threading, time
log = logging.getLogger("case")
lock = threading.Lock()
START = time.time()
THRESHOLD = 1
OPTIONS = {"a": 1}
args = None
TABLE = None
class Config:
    RATE = 1
    NAMES = []
    def __init__(self): self.level = 1
class Narrow(Config): pass
config = Config()
def use(x):
    with lock:
        table = None if TABLE is None else TABLE.tolist()
        rates = Config.RATE, Narrow.RATE, list(Config.NAMES)
        return x > THRESHOLD, OPTIONS, args and args.rate, table, rates, config.level, START
"""


def test_settings(write, here, check):
    write("case_settings.py", SETTINGS)
    import case_settings as settings

    def imports_it(x):
        import case_settings

        return case_settings.THRESHOLD

    check(settings.use, 5)
    for change in (
        lambda: setattr(settings, "THRESHOLD", 100),
        lambda: settings.OPTIONS.update(a=7),
        lambda: setattr(settings, "args", argparse.Namespace(rate=3)),
        lambda: setattr(settings.args, "rate", 4),
        lambda: setattr(settings, "TABLE", np.arange(3)),
        lambda: setattr(settings.Config, "RATE", 5),
        lambda: settings.Config.NAMES.append("a"),
        lambda: setattr(settings.Narrow, "RATE", 7),
        lambda: setattr(settings.config, "level", 9),
        lambda: setattr(settings, "THRESHOLD", 1),
    ):
        change()
        check(settings.use, 5)
    check(lambda x: (settings.THRESHOLD, settings.Config.RATE), 5)
    check(imports_it, 5)


@pytest.fixture
def package(write, here, monkeypatch):
    """A package with a setting in a module, in a package in it, and beside it a module that uses them."""
    write("case_pk/__init__.py", "")
    write("case_pk/config.py", "RATE, LABEL = 1, 'unset'\ndef get(): return RATE")
    write("case_pk/sub/__init__.py", "")
    write("case_pk/sub/deep.py", "RATE = 1\ndef get(): return RATE")
    write(
        "case_pk/work.py",
        """
import case_pk.config
from case_pk import config
backend = None
def dotted(): return case_pk.config.RATE
def by_attribute(): return config.RATE
def inside():
    from . import config
    from .config import LABEL
    from .sub import deep
    return config.RATE, LABEL, deep.RATE
def set_with_dots(rate): case_pk.config.RATE = rate
def set_with_setattr(rate): setattr(case_pk.config, "RATE", rate)
def set_with_import(rate):
    from . import config
    config.RATE = rate
def rates(): return case_pk.config.RATE, case_pk.config.get(), by_attribute()
def of(module): return module.RATE
def of_backend(): return backend and backend.RATE
""",
    )
    importlib.import_module("case_pk.sub.deep")
    importlib.import_module("case_pk.work")
    monkeypatch.setitem(globals(), "case_pk", sys.modules["case_pk"])
    return case_pk


WAYS = """
import importlib, sys
import case_pk.config, case_pk.work, case_pk.sub.deep
def captures(module): return lambda x: module.get()
class Holder: config = case_pk.config
def attributes(x): return case_pk.config.RATE
def two_levels(x): return case_pk.sub.deep.RATE
def its_function(x): return case_pk.sub.deep.get()
def another_module(x): return case_pk.work.dotted(), case_pk.work.by_attribute()
def an_import(x):
    from case_pk.sub import deep
    return deep.RATE
def a_relative_import(x): return case_pk.work.inside()
def by_getattr(x): return getattr(case_pk.config, "RATE")
def by_vars(x): return vars(case_pk.config)["RATE"]
def by_sys_modules(x): return sys.modules["case_pk.sub.deep"].RATE
def by_import_module(x): return importlib.import_module("case_pk.sub.deep").RATE
def an_argument(x): return case_pk.work.of(case_pk.config)
captured = captures(case_pk.config)
def a_default(x, module=case_pk.sub.deep): return module.RATE
def a_class(x): return Holder.config.RATE
def a_module_that_was_set(x): return case_pk.work.of_backend()
"""


def test_settings_of_modules_of_a_package(package, write, check, pool):
    """However a function gets at the module. Each has a value that no other has brought."""
    write("case_pk_ways.py", WAYS)
    ways = importlib.import_module("case_pk_ways")
    package.work.backend = package.sub.deep
    functions = [value for name, value in vars(ways).items() if callable(value) and name not in ("captures", "Holder")]
    assert len(functions) == 15
    for value, function in enumerate(functions, 10):
        package.config.RATE = package.sub.deep.RATE = value
        package.config.LABEL = str(value)
        assert pool.submit(function, 0).result() == function(0), function
    check(lambda x: (case_pk.config.RATE, case_pk.sub.deep.get()), 0)


def test_what_an_initializer_sets_in_modules_of_a_package_stays(package):
    work = package.work
    for start in (work.set_with_dots, work.set_with_import, work.set_with_setattr):
        with pardata.WorkerPool(1, initializer=start, initargs=(5,)) as pool:
            assert pool.submit(work.rates).result() == (5, 5, 5), start
            package.config.RATE += 1
            assert pool.submit(work.rates).result() == (5, 5, 5), start


def test_the_other_ways_to_a_pool(write, here):
    write("case_ways.py", "K = 1\ndef times(x): return x * K")
    import case_ways

    pardata.register_joblib()
    with pardata.WorkerPool(1) as pool, pardata.Pool(1) as lookalike:
        for case_ways.K in (2, 3):
            with joblib.parallel_config(backend="pardata", n_jobs=2):
                assert joblib.Parallel()(joblib.delayed(case_ways.times)(n) for n in range(3)) == [
                    n * case_ways.K for n in range(3)
                ]
            assert pool.map_array(case_ways.times, np.ones(3)).tolist() == [case_ways.K] * 3
            assert lookalike.map(case_ways.times, [1]) == [case_ways.K]
            assert lookalike.apply(functools.partial(case_ways.times), (1,)) == case_ways.K
            assert list(pardata.map(case_ways.times, [1])) == [case_ways.K]
    pardata.shutdown()


def test_what_an_initializer_sets_stays(write, here):
    write(
        "case_init.py",
        """
model, N = None, 1
SEEN = {}
def start(n):
    global model, N
    model = N = n
def work(x): return x * model * N
def count(x):
    SEEN[x] = 1
    return len(SEEN)
""",
    )
    import case_init

    def start_from_outside():
        case_init.model = 5
        case_init.N = 1

    with pardata.WorkerPool(1, initializer=case_init.start, initargs=(3,)) as pool:
        assert pool.submit(case_init.work, 2).result() == 18
        case_init.N = 7
        assert pool.submit(case_init.work, 2).result() == 18
        assert [pool.submit(case_init.count, n).result() for n in range(3)] == [1, 2, 3]
    with pardata.WorkerPool(1, initializer=start_from_outside) as pool:
        assert pool.submit(case_init.work, 2).result() == 10


def test_what_a_function_makes_when_it_needs_it_is_its_own(write, here, check):
    write(
        "case_lazy.py",
        """
import threading
lock = None
def get():
    global lock
    if lock is None:
        lock = threading.Lock()
    return lock
def use(x): return get() is not None
""",
    )
    import case_lazy

    case_lazy.use(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(case_lazy.use, 1)


def test_a_setting_that_cannot_be_sent_is_told_once(write, here, pool, monkeypatch):
    monkeypatch.setattr(changes, "_told", set())  # this process has told nothing of it yet
    write("case_lock.py", "connection = None\ndef f(x): return connection is None")
    import case_lock

    case_lock.connection = threading.Lock()
    with pytest.warns(RuntimeWarning, match=r"case_lock\.connection was set at run time to a lock") as told:
        assert pool.submit(case_lock.f, 1).result()
        assert list(pardata.source([1]).map(case_lock.f)) == [True]
    assert len(told) == 1
    assert told[0].filename == __file__


def test_circular_imports(write, here, check):
    write("case_round.py", "import case_about\nV = 1\ndef f(x): return case_about.g(x) + V")
    write("case_about.py", "import case_round\ndef g(x): return case_round.V + x")
    import case_round

    check(case_round.f, 1)
    case_round.V = 10
    check(case_round.f, 1)


def test_modules_that_must_be_imported_in_one_order(write, here, check):
    write("case_first.py", "X = 1\nfrom case_second import g\ndef f(x): return g(x)")
    write("case_second.py", "import case_first\nY = case_first.X\ndef g(x): return x + Y + case_first.X\n")
    import case_first
    import case_second

    check(case_first.f, 1)
    check(lambda x: case_second.g(x) + case_first.X, 1)


def test_classes_of_a_script_that_come_from_a_module_that_is_reloaded(tmp_path):
    """The script's name goes on meaning one class, as autoreload has it, which goes by value from then on."""
    text = "class C:\n    def name(self): return 'old'\n"
    script = f"""
import importlib, os, sys
import pardata
sys.path.insert(0, "")
sys.dont_write_bytecode = True
open("case_of_script.py", "w").write({text!r})
import case_of_script
from case_of_script import C
def name(x): return C().name()
with pardata.WorkerPool(1) as pool:
    assert pool.submit(name, 1).result() == "old"
    open("case_of_script.py", "w").write({text.replace("old", "newer")!r})
    importlib.reload(case_of_script)
    C.name = case_of_script.C.name
    assert pool.submit(name, 1).result() == name(1) == "newer"
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


def test_a_script_that_runpy_runs_is_not_run_again_by_workers(tmp_path):
    (tmp_path / "script.py").write_text(
        "import pardata\n"
        "class Kept:\n    pass\n"
        "def double(n): return 2 * n, Kept()\n"
        "found = list(pardata.source([1, 2]).map(double))\n"
        "kinds = {type(kept) for _, kept in found} == {Kept}\n"
    )
    names = runpy.run_path(str(tmp_path / "script.py"))
    assert [number for number, _ in names["found"]] == [2, 4] and names["kinds"]


def test_nothing_of_a_local_function_is_kept(pool):
    """A look at a function does not keep it, nor what it has captured."""

    def submit_one():
        table = np.zeros(100_000)

        def local(x, table=table):
            return table[0] + (0 if x == 0 else local(0))

        assert pool.submit(local, 1).result() == 0
        return weakref.ref(local), weakref.ref(table)

    gone = [*submit_one(), *submit_one()]
    gc.collect()
    assert [found() for found in gone] == [None] * 4


def test_debuggers_and_coroutine_functions_say_what_to_do(pool):
    def stops(x):
        breakpoint()

    async def fetch(x):
        return x

    for call in (lambda: pool.submit(stops, 1).result(), lambda: list(pardata.source([1]).map(stops))):
        with pytest.raises(RuntimeError, match='engine="serial"'):
            call()
    with pardata.WorkerPool(1, kind="thread") as threads:
        for each in (pool, threads):
            for function in (fetch, functools.partial(fetch)):
                with pytest.raises(pardata.ConfigError, match="'fetch' is a coroutine function"):
                    each.submit(function, 1)
                with pytest.raises(pardata.ConfigError, match="'fetch' is a coroutine function"):
                    each.map_array(function, np.ones(3))


def test_a_worker_that_begins_after_an_edit_says_that_it_runs_another_version(write, here, capfd):
    name = f"case_versions_{here.name}"  # its own each time: what went by value once goes so from then on
    write(f"{name}.py", "def f(x): return 'old'")
    case_versions = importlib.import_module(name)

    with pardata.WorkerPool(1, max_tasks_per_worker=1) as pool:
        assert pool.submit(case_versions.f, 1).result() == "old"
        write(f"{name}.py", "def f(x): return 'newer'")
        with pytest.warns(RuntimeWarning, match="'case_versions.*' was edited since"):
            assert pool.submit(case_versions.f, 1).result() == "newer"
        assert list(pardata.source([1]).map(case_versions.f)) == ["old"]


def test_what_a_function_does_not_use_stays_here(write, here, check):
    """A module that was edited may hold more than its functions need: a table, a model."""
    text = """
class Model:
    seen = []
    def __reduce__(self):
        Model.seen.append(1)
        return Model, ()
model = Model()
def f(x): return 'old'
"""
    write("case_model.py", text)
    import case_model

    check(case_model.f, 1)
    write("case_model.py", text.replace("old", "newer"))
    importlib.reload(case_model)
    check(case_model.f, 1)
    check(lambda x: case_model.f(x), 1)
    write("case_of_model.py", "from case_model import f\ndef g(x): return f(x)")
    import case_of_model

    assert case_model.Model.seen == []
    check(case_of_model.g, 1)


def test_a_module_of_the_same_name_from_another_file_takes_the_place_of_the_first(tmp_path, monkeypatch):
    found = []
    with pardata.WorkerPool(1) as pool:
        for folder in ("first", "second", "first"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / "case_twice.py").write_text(f"def where(_):\n    return {folder!r}\n")
            monkeypatch.syspath_prepend(tmp_path / folder)
            sys.modules.pop("case_twice", None)
            module = importlib.import_module("case_twice")
            found.append(pool.submit(module.where, 0).result())
            assert list(pardata.source([0]).map(module.where)) == [folder]
    del sys.modules["case_twice"]
    assert found == ["first", "second", "first"]


# -- registries, and attributes that were deleted ----------------------------------------------------------------------

REGISTRY = """
import functools

TABLE, HOOKS, LIMIT = {}, [], 5
FIRST: dict = {}

@functools.singledispatch
def kind(x): return "any"

def helper(): return 1
def found(x): return FIRST.get(x)
def hooks(x): return len(HOOKS)
def kind_of(x): return kind(x)
def helped(x): return helper()
"""


@pytest.mark.parametrize("use", ["found", "hooks", "kind_of"])
def test_function_of_the_script_in_a_table_of_a_module_is_told_once(write, here, pool, use):
    name = f"case_registry_{use}"
    write(f"{name}.py", REGISTRY)
    module = importlib.import_module(name)
    script = {"__name__": "__main__"}
    exec("def mine(x): return 3", script)
    of_script = script["mine"]
    assert list(pool.map(getattr(module, use), [3])) == [getattr(module, use)(3)]  # nothing to tell yet
    module.FIRST[3] = of_script
    module.HOOKS.append(of_script)
    module.kind.register(int, of_script)
    table = {"found": "FIRST", "hooks": "HOOKS", "kind_of": "kind"}[use]
    with pytest.warns(RuntimeWarning, match=f"{name}.{table} has 'mine' of the script"):
        list(pardata.source([3]).map(getattr(module, use)))
    list(pardata.source([3]).map(getattr(module, use)))


def test_attribute_that_was_deleted_is_told_once(write, here, pool):
    write("case_deleted.py", REGISTRY)
    module = importlib.import_module("case_deleted")
    calls = lambda x: (module.helper(), len("append"))  # noqa: E731 -- names that no source binds
    assert list(pool.map(module.helped, [1])) == [1] and pool.submit(calls, 1).result() == (1, 6)
    del module.helper
    with pytest.warns(RuntimeWarning, match="case_deleted.helper was deleted at run time"):
        assert pool.submit(module.helped, 1).result() == 1
    assert pool.submit(calls, 1).result() == (1, 6)
    module.helper = lambda: 2
    assert pool.submit(calls, 1).result() == (2, 6)
