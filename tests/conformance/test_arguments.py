"""More arguments of a stage's function, and the methods that cut and count a stream."""

import inspect
import itertools

import numpy as np
import pytest

import pardata
from tests.conformance.stages import count_up

ENGINES = ["serial", "threads", "processes"]
TABLE = np.arange(30_000.0)  # large enough for a block


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


class Scaled:
    """A stage with a state."""

    def __init__(self):
        self.factor = None

    def open(self):
        self.factor = 10

    def __call__(self, item, more, *, sign=1):
        return sign * (item * self.factor + more)

    def close(self):
        self.factor = None


def endless():
    yield from itertools.count()


def keep_two(items):
    yield next(items)
    yield next(items)


def numbers(count=5):
    return pardata.source(range(count))


STREAMS = {
    "positional": (lambda: numbers().map(pow, 2), [0, 1, 4, 9, 16]),
    "by name": (lambda: numbers().map(int.__add__, 1).map(round, ndigits=-1), [0, 0, 0, 0, 0]),
    "both": (lambda: numbers(2).map(lambda a, b, *, c: (a, b, c), 1, c=2, workers=2), [(0, 1, 2), (1, 1, 2)]),
    "an array": (lambda: numbers(3).map(lambda i, table: float(table[i]), TABLE), [0.0, 1.0, 2.0]),
    "object": (lambda: numbers(3).map(Scaled(), 5, workers=2, retries=1), [5, 15, 25]),
    "class": (lambda: numbers(3).map(Scaled, 5, sign=-1), [-5, -15, -25]),
    "starmap": (lambda: pardata.source([(2, 5), (3, 2)]).starmap(pow, workers=2), [32, 9]),
    "starmap by name": (lambda: pardata.source([(2, 5), (3, 2)]).starmap(pow, mod=7), [4, 2]),
    "starmap of an object": (lambda: pardata.source([(2, 5)]).starmap(Scaled()), [25]),
    "starmap of a zip": (lambda: pardata.zip(*[numbers(3)] * 2).starmap(pow), [1, 1, 4]),
    "take": (lambda: pardata.source(endless).map(abs, workers=2).take(3), [0, 1, 2]),
    "take none": (lambda: pardata.source(endless).take(0), []),
    "take all": (lambda: numbers().take(9), [0, 1, 2, 3, 4]),
    "take of an iterator": (lambda: pardata.source(itertools.count()).take(2), [0, 1]),
    "take twice": (lambda: pardata.source(endless).take(5).skip(1).take(2), [1, 2]),
    "skip": (lambda: numbers().skip(3), [3, 4]),
    "skip none": (lambda: numbers().skip(0), [0, 1, 2, 3, 4]),
    "skip all": (lambda: numbers().skip(7), []),
    "enumerate": (lambda: numbers().skip(3).enumerate(1), [(1, 3), (2, 4)]),
    "enumerate what is left": (lambda: numbers().filter(lambda x: x % 2).enumerate(), [(0, 1), (1, 3)]),
    "take then more": (lambda: pardata.concat(pardata.source(endless).take(2), numbers(2)), [0, 1, 0, 1]),
    "a generator that ends early": (lambda: pardata.source(endless) | keep_two, [0, 1]),
}


def test_streams(engine):
    """All are one run, so each must end by itself: the endless sources of some do not."""
    found = {name: [] for name in STREAMS}
    pardata.run(*[make().to(found[name]) for name, (make, _) in STREAMS.items()], engine=engine)
    assert found == {name: expected for name, (_, expected) in STREAMS.items()}


def test_a_loop_ends_with_take(engine):
    assert list(pardata.source(endless).map(abs).take(3).iterate(engine=engine)) == [0, 1, 2]


def test_a_run_without_a_sink_ends_with_take(engine):
    """Each is a thread of the caller with no reader: it is at its end, though its input never is."""
    pardata.run(pardata.source(endless).map(abs).take(3), pardata.source(endless).take(0), engine=engine)


def test_sources_of_what_is_taken_stop_while_the_rest_goes_on(engine):
    """The second stream takes far more messages than a source may have in flight."""
    first, second = [], []
    report = pardata.run(
        pardata.source(endless).map(abs, name="limited").take(2).to(first),
        numbers(20_000).map(abs, chunksize=1).to(second),
        engine=engine,
    )
    assert first == [0, 1] and len(second) == 20_000
    assert next(stage.items for stage in report.stages if stage.name == "limited") < 10_000


def test_what_others_read_goes_on_behind_take(engine):
    found, all_ = [], []
    stem = pardata.source(count_up)
    pardata.run(stem.take(2).to(found), stem.map(abs).to(all_), engine=engine)
    assert found == [0, 1] and all_ == list(range(100))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: numbers().map(abs, worker=2), r"map\(abs\): there is no option 'worker'; did you mean 'workers'"),
        (lambda: numbers().map(lambda x: x, chunk_size=2), "did you mean 'chunksize'"),
        (lambda: numbers().map(abs, n_jobs=2), "no option 'n_jobs'; did you mean 'workers'"),
        (lambda: numbers().map(lambda x: x, writeable=True), "did you mean 'writable'"),
        (lambda: numbers().map(lambda x: x, 1), r"cannot be called with \(item, \.\.\.\): too many positional"),
        (lambda: numbers().map(lambda x: x, axis=1), r"\(item, axis=...\): got an unexpected keyword argument 'axis'"),
        (lambda: numbers().map(lambda x, y, z: x, 1), "missing a required argument: 'z'"),
        (lambda: numbers().map(Scaled, 1, 2), "too many"),
        (lambda: numbers().map(3, 1), "a function is needed, not int"),
        (lambda: numbers().starmap(3), "a function is needed, not int"),
        (lambda: numbers().starmap(pow, ordred=True), "did you mean 'ordered'"),
        (lambda: numbers().starmap(lambda x, y: x, z=1), "unexpected keyword argument 'z'"),
        (lambda: numbers().map(keep_two, 1), "generator function"),
        (lambda: numbers().take(-1), "take: n must be an int of at least 0, not -1"),
        (lambda: numbers().take(1.5), "not 1.5"),
        (lambda: numbers().skip(True), "not True"),
        (lambda: numbers().enumerate("1"), "enumerate: start must be an int, not '1'"),
    ],
)
def test_wrong_arguments_are_refused_at_once(make, words):
    with pytest.raises(pardata.ConfigError, match=words):
        make()


def test_each_option_of_map_is_named_when_it_is_misspelt():
    parameters = inspect.signature(pardata.Stream.map).parameters.values()
    options = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    assert "writable" in options
    for option in options:
        with pytest.raises(pardata.ConfigError, match=f"no option '{option}x'; did you mean '{option}'"):
            numbers().map(abs, **{option + "x": 1})
