"""What a user may do wrong, and the words that the error must have: what happened, with numbers, and what to do."""

import queue
import re
import resource
import threading
from functools import partial

import numpy as np
import pytest

import pardata

ROWS = np.arange(30.0).reshape(10, 3)
found = []
seen = {}
lock = threading.Lock()


def numbers():
    return pardata.source(range(4))


def pass_on(items):
    yield from items


def pass_on_with(lock, items):
    with lock:
        yield from items


def first(items):
    yield items[0]


def items_of_list():
    return [1, 2]


def items_up_to(limit):
    yield from range(limit)


async def fetch(url):
    return url


def subtract(first, second):
    return first - second


def append(number):
    found.append(number)


def note(number):
    seen[number] = True


class Scaled:
    """A stage with a state that needs an argument."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, item):
        return self.factor * item


class Opens:
    """A stage that would open something in an event loop."""

    async def open(self):
        pass

    def __call__(self, item):
        return item


def twice_read():
    stream = pardata.source(iter([1, 2]))
    list(stream.iterate(engine="serial"))
    list(stream.iterate(engine="serial"))


def shared_in_place():
    stem = numbers()
    return pardata.zip(stem.map(abs, inplace=True), stem.map(float)).run()


def turns_of_one_source():
    stem = numbers()
    return pardata.merge(stem.map(abs), stem, policy="round_robin").run()


STREAMS = [
    (lambda: numbers().to(queue.Queue().put).run(), 'lock, which cannot be pickled .*; kind="thread" has it called'),
    (lambda: numbers().map(queue.Queue().put).run(), 'lock, which cannot be pickled .*; kind="thread" has it called'),
    (lambda: (numbers() | partial(pass_on_with, lock)).run(), r"lock, which cannot be pickled \([^()]*\)$"),
    # sources
    (lambda: pardata.source(5), "int is not iterable: for so many numbers give range.5."),
    (lambda: pardata.source(None), "NoneType is not iterable: give a list, an array, a generator function or the path"),
    (lambda: pardata.source(items_of_list), r"must be a generator function.*another one returns, items_of_list\(...\)"),
    (lambda: pardata.source(items_up_to), "items_up_to.: a generator function is called without arguments; .*partial"),
    (lambda: pardata.source("*.npy"), r"for several files give their paths, glob.glob\('\*.npy'\)"),
    (lambda: pardata.source("/missing.npy"), "No such file or directory: '/missing.npy'"),
    (
        lambda: pardata.source("films"),
        "'films'.: a single path .* pardata.open opens; .* a list of them .there is no file or folder",
    ),
    (lambda: pardata.source([1], until=2), "until= goes with a queue"),
    (twice_read, "an iterator that an earlier run has read; a list, an array or a generator function can be run again"),
    # functions
    (
        lambda: numbers().map(abs(-3)),
        r"test_wrong_uses.py:\d+.: a function is needed, not int: give the function itself",
    ),
    (lambda: numbers().map(None), "not NoneType: give the function itself, and not what a call returns"),
    (lambda: numbers().map(Opens()), "'Opens': its open is a coroutine function, which nobody awaits beside a plain"),
    (lambda: numbers().map(Opens), "'Opens': its open is a coroutine function, which nobody awaits beside a plain"),
    (lambda: numbers().aiter(tokenz=1), "Stream.aiter.. got an unexpected keyword argument 'tokenz'"),
    (lambda: numbers().iterate(tokenz=1), r"Stream.iterate\(\): there is no option 'tokenz'; did you mean 'tokens'"),
    (lambda: pardata.Stream([1]), r"a stream is made by pardata.source\(items\)"),
    (lambda: numbers().reduce(0, subtract), "a function is needed, not int"),
    (lambda: numbers().reduce(abs, 0), "reduce.abs.: .* the value so far and an item, and does not take two arguments"),
    (lambda: numbers().map(pass_on), r"a generator function, which takes all items: use stream \| pass_on"),
    (lambda: numbers() | fetch, "'fetch' is a coroutine function"),
    (lambda: numbers() | pass_on([1]), "a function is needed, not generator: give the function itself"),
    (lambda: pardata.zip(numbers(), numbers()).map(subtract), "an item of a zip is a tuple: starmap unpacks it"),
    (lambda: numbers().map(Scaled), r"calls the class without arguments, .* give an object, Scaled\(...\)"),
    (
        lambda: numbers().map(lambda _: lock).run(),
        "the global variable 'lock' is a _thread.lock, which cannot be pickled",
    ),
    # options
    (lambda: numbers().map(abs, worker=2), "no option 'worker'; did you mean 'workers'"),
    (lambda: numbers().map(abs, workers="4"), "workers must be an int of at least 1, not '4'"),
    (lambda: numbers().map(abs, workers="Auto"), "workers must be an int of at least 1, not 'Auto' .or .auto.."),
    (lambda: numbers().map(abs, workers="auto", kind="thread"), 'with kind="thread" say how many threads'),
    (lambda: numbers().map(fetch, workers="auto"), "a coroutine function awaits concurrency= calls .* say how many"),
    (lambda: numbers().map(abs, workers="auto").run(cores=0), "cores must be an int of at least 1, not 0"),
    (
        lambda: numbers().map(abs, workers=3).map(abs, workers="auto").map(abs, workers="auto").run(cores=4),
        "cores=4 are too few for 2 stages .* one worker each, and 3 workers of others: 5 are needed",
    ),
    (
        lambda: numbers().map(abs, chunksize="4MB"),
        r"must be \"auto\" or an int of at least 1 \(items per message\), not",
    ),
    (lambda: numbers().map(abs, errors="ignore"), 'errors must be "raise", "skip" or "stream", not \'ignore\''),
    (lambda: numbers().map(abs, max_errors=3), 'max_errors= goes with errors="skip" or "stream"'),
    (lambda: numbers().map(abs, kind="threads"), 'kind must be "process" or "thread", not \'threads\''),
    (lambda: numbers().map(abs, inplace=True, retries=1), "what was changed half-way cannot be tried again"),
    (lambda: numbers().map(abs, name=3), "the name of a stage must be a str, not 3"),
    (lambda: numbers().map(abs).failed, 'has no `failed`: its stage needs errors="stream"'),
    (lambda: numbers().batch(0), "batch: n must be an int of at least 1, not 0"),
    (lambda: numbers().window(3, 0), "window: step must be an int of at least 1, not 0"),
    (lambda: numbers().partition(2, abs), "partition: n must be an int of at least 1, not <built-in function abs>"),
    # joins
    (lambda: pardata.zip(numbers(), [1, 2]), "zip.. takes streams, not list: use pardata.source"),
    (lambda: pardata.merge([numbers(), numbers()]), r"not list: unpack it, merge\(\*streams\)"),
    (lambda: pardata.zip(), "zip.. needs at least one stream"),
    (lambda: pardata.zip(numbers(), numbers()).run(), 'must come from the same source.*by="position"'),
    (
        lambda: pardata.zip(numbers(), pardata.source([1]), by="position").run(),
        "'source' 4, 'source-2' 1: cut the longer",
    ),
    (
        lambda: pardata.merge(numbers(), policy="fastest"),
        '"arrival", "fair", "round_robin" or "ordered", not \'fastest\'',
    ),
    (turns_of_one_source, "must not have a common source: 'source' is one"),
    (shared_in_place, "wants to change its input in place, but float reads the output of 'source' as well"),
    (lambda: numbers().partition(abs, 2)[0].run(), "nobody reads branch 1 of 2"),
    # sinks
    (lambda: numbers().to("out.csv"), "or .npy file; for others give a function"),
    (lambda: numbers().to("/nope/out.npy"), "/nope/out.npy: there is no such directory"),
    (lambda: numbers().to(print()), r"to.None.: a sink is a list, .* or a function, as found.add or file.write"),
    (lambda: numbers().to(np.empty(4)), r"array of shape .4,., float64.: a sink is a list"),
    (lambda: numbers().to(found.append), 'list.append.: a process would fill a copy of it; .* say kind="thread"'),
    (
        lambda: numbers().to(append),
        "it fills 'found', a list of this process, and a process of its own would fill a copy",
    ),
    (lambda: numbers().to(lambda number: found.append(number)), "to.lambda.: it fills 'found', a list of this process"),
    (lambda: numbers().to(note), "it fills 'seen', a dict of this process"),
    (lambda: numbers().to(print).map(abs), "nothing comes out of 'print' .*: what `to` returns can be run"),
    # runs
    (lambda: list(numbers().run(engine="serial")), "a report has counts, not the results: loop over the stream itself"),
    (lambda: numbers().run(engine="process"), 'engine must be .*, "dask" or "ray", not \'process\''),
    (lambda: numbers().run(engine=["tcp://host:1"]), r"not \['tcp://host:1'\]; .*Dask\(client or address"),
    (
        lambda: numbers().run(progress="yes"),
        "progress must be True, False, or a class or function like tqdm, not 'yes'",
    ),
    (lambda: numbers().run(memory_limit="lots"), "memory_limit must be .* or a size such as \"500MB\", not 'lots'"),
    (lambda: numbers().run(tokens=0), "tokens must be an int of at least 1, not 0"),
    (lambda: numbers().run(seed=-1), "seed must be an int of at least 0, not -1"),
    (lambda: pardata.run([numbers()]), r"run\(\) takes streams, not list: unpack it, run\(\*streams\)"),
    (lambda: numbers().map(abs, timeout_s=1).run(engine="threads"), 'timeout_s= needs processes, not engine="threads"'),
    (lambda: numbers().draw("graph.png"), "pictures are SVG files: the path must end in .svg"),
    (lambda: numbers().dry_run(1, 2), "needs an item for each source .'source'., or none; 2 were given"),
    (lambda: pardata.source(iter([1])).dry_run(), "can be read only once: give dry_run.. an item for it"),
]

IN_CALLS = [  # found out by the function's call, so with a note of stage and item
    (lambda: list(numbers().unbatch().iterate(engine="serial")), "unbatch takes items that are lists, .* not int"),
    (lambda: list(numbers().flat_map(abs).iterate(engine="serial")), "returns a list or another iterable, not int"),
    (lambda: list(numbers().flat_map(abs, retries=1).iterate(engine="serial")), "or another iterable, not int"),
    (
        lambda: list((numbers() | first).iterate(engine="serial")),
        r"is not subscriptable.*make a list of it, list\(...\)",
    ),
    (
        lambda: list(numbers().map(lambda n: items_up_to(n)).map(len).iterate(engine="serial")),
        "no len.*what a generator function ret",
    ),
    (lambda: list((numbers() | abs).iterate(engine="serial")), "'abs' was called with the iterator of all items.*map"),
]

POOLS = [
    # what a function for blocks returns
    (
        lambda pool: pool.map_array(lambda rows: None, ROWS),
        r"returned None for \d+ rows: .*return. missing.*foreach_array",
    ),
    (
        lambda pool: pool.map_array(np.sum, ROWS),
        r"returned a single number for \d+ rows: .*reduce_array\(fn, array, comb",
    ),
    (lambda pool: pool.map_array(dict, ROWS[:, :2]), r"returned a dict for \d+ rows: it must return one row per row"),
    (lambda pool: pool.map_array(pass_on, ROWS), r"returned a generator for \d+ rows"),
    (
        lambda pool: pool.map_array(lambda rows: rows[:-1], ROWS),
        r"shape \(\d+, 3\) for \d+ rows: it must return one row",
    ),
    (
        lambda pool: pool.map_array(lambda _: [[1], [1, 2]], ROWS),
        "returned rows of different lengths, 1, 2: an array has",
    ),
    (lambda pool: pool.reduce_array(lambda _: None, ROWS, np.add), "has returned None for some rows"),
    # arguments
    (lambda pool: pool.map_array(ROWS, np.sqrt), "needs a function, not ndarray; the function comes first"),
    (
        lambda pool: pool.map_array(np.sqrt, [[1], [1, 2]]),
        "got rows of different lengths, 1, 2: an array has rows of one",
    ),
    (
        lambda pool: pool.map_array(np.sqrt, iter([1])),
        "needs an array or a list, with at least one axis, not list_iter",
    ),
    (
        lambda pool: pool.map_array(np.sqrt, ROWS, axis=2),
        r"axis=2 for an array of shape \(10, 3\), which has no such axis",
    ),
    (lambda pool: pool.map_array(np.power, ROWS, 2), r"not int: .* into the function, as lambda rows: fn\(rows, 2\)"),
    (lambda pool: pool.map_array(np.add, ROWS, ROWS[:5]), r"shape \(5, 3\) has not 10 entries along axis 0"),
    (
        lambda pool: pool.map_array(np.sqrt, ROWS, out=np.empty((10, 2))),
        r"shape \(10, 2\); the function's results need",
    ),
    (
        lambda pool: pool.map_array(np.sqrt, ROWS, out=np.empty((10, 3), int)),
        "float64, which does not fit the output's in",
    ),
    (lambda pool: pool.map_array(np.sqrt, ROWS, chunksize="4 megs"), "a size such as \"4MB\", not '4 megs'"),
    (
        lambda pool: pool.map_array(np.sqrt, ROWS, progress="yes"),
        "progress must be True, False, or a class or function",
    ),
    (lambda pool: pool.map_array(np.sqrt, ROWS, chunk_size=3), "no option 'chunk_size'; did you mean 'chunksize'"),
    (lambda pool: pool.reduce_array(np.sum, ROWS, abs), "combines two results at a time, combine.first, second."),
    (lambda pool: pool.reduce_array(np.sum, ROWS, 0), "reduce_array needs a function, not int"),
    (lambda pool: pool.map(), r"WorkerPool.map\(\) missing 1 required positional argument: 'fn'"),
    (lambda pool: pool.map_array(abs), r"WorkerPool.map_array\(\) missing 1 required positional argument: 'array'"),
    (lambda pool: pool.map([1], abs), "a pool runs functions, not list: it comes first, then its arguments"),
    (lambda pool: pool.map(abs, [1], progress="yes"), "progress must be True, False, or a class or function like tqdm"),
    (lambda pool: pool.submit(abs(-1)), "a pool runs functions, not int: .*; not its result"),
    (lambda pool: pool.submit(abs, lock).result(), "cannot be sent to a worker process: .* is a _thread.lock"),
    (lambda pool: pool.submit(pass_on, [1]).result(), "it is a generator, which cannot be pickled, .* as a list"),
]

OTHERS = [
    (lambda: pardata.WorkerPool("4"), "workers must be an int of at least 1, not '4'"),
    (lambda: pardata.WorkerPool(1, kind="processes"), 'kind must be "process" or "thread", not \'processes\''),
    (lambda: pardata.WorkerPool(1, initializer=print, initargs=3), r"must be a tuple of arguments, as \(3,\), not 3"),
    (lambda: pardata.WorkerPool(1, initializer=3), "initializer must be a function, not int"),
    (lambda: pardata.WorkerPool(1, kind="thread", memory_limit="1GB"), "memory_limit is for processes: with kind"),
    (lambda: pardata.WorkerPool(1, cluster=lock), r"cluster must be 'dask', 'ray', or .*Dask\(client or address"),
    (lambda: pardata.WorkerPool(1, memory_limit="1 gig"), "or a size such as \"500MB\", not '1 gig'"),
    (lambda: pardata.array([[1], [1, 2]]), "pardata.array got rows of different lengths, 1, 2"),
    (lambda: pardata.array({1, 2}), "needs numbers, or a list or array of them, not set"),
    (lambda: pardata.zeros(3, 4), r"4 is no dtype: the shape of several axes is a tuple, \(3, 4\)"),
    (lambda: pardata.empty("3"), "a shape is an int or a tuple of ints, not '3'"),
    (lambda: pardata.zeros(3, object), "holds Python objects or pointers: it cannot be shared"),
    (lambda: pardata.Queue("5"), "maxsize must be an int .0: for any number of items., not '5'"),
    (lambda: pardata.Queue().put(lock), "cannot be put into a queue: it is a _thread.lock, which cannot be pickled"),
    (lambda: pardata.source(pardata.Queue(), until=object()), "what another process puts arrives as a copy"),
    (
        lambda: pardata.ShareableList([1, [2]]),
        "item 1 is of type list: a ShareableList holds int, float, bool, str, bytes",
    ),
    (lambda: pardata.Table([1, 2]), "takes a dict, keys and values, a structured array or a DataFrame, not list"),
    (lambda: pardata.Table(["a", "b"], [1]), "there are 2 keys, but 1 values"),
    (lambda: pardata.Table(["a", "a"], [1, 2]), "the key 'a' occurs more than once"),
    (lambda: pardata.Table({"a": 1}).get_many("ab"), "asked for by a sequence of them, not by 'ab'"),
    (lambda: pardata.Database("/missing.db"), "/missing.db cannot be read as a database: .*No such file"),
    (lambda: pardata.Service("nowhere"), "must be unix:<path> or http://<host>:<port>, not 'nowhere'"),
    (lambda: pardata.serve({"a": 1}), r"not dict: pardata.Table\(...\) makes one of it"),
    (lambda: pardata.PagedFile("/missing"), "/missing cannot be opened: .*No such file"),
    (lambda: pardata.PagedFile.create("/missing/file", kind="text"), "kind must be one of .*, not 'text'"),
    (lambda: pardata.PagedFile.create("/missing/file", page_bytes="4 gigs"), "page_bytes must be .* not '4 gigs'"),
    (lambda: pardata.files.split(5, 3), "takes an array, a list, bytes, a path or a PagedFile, not int"),
    (lambda: pardata.files.split(ROWS, 0), "pieces must be an int of at least 1, not 0"),
    (lambda: pardata.sorce([1]), "module 'pardata' has no attribute 'sorce'"),
]


def check(cases, *arguments):
    """Each case raises an error, whose text and notes have the words."""
    for use, words in cases:
        with pytest.raises(Exception) as caught:
            made = use(*arguments)
            if hasattr(made, "__next__"):
                list(made)
        text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert re.search(words, text, re.DOTALL), (words, text)


def test_wrong_uses_of_streams():
    check(STREAMS)


def test_wrong_uses_that_a_call_finds_out():
    check(IN_CALLS)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_wrong_uses_of_pools(kind):
    cases = [
        case for case in POOLS if kind == "process" or ("pickled" not in case[1] and "_thread.lock" not in case[1])
    ]
    with pardata.WorkerPool(2, kind=kind) as pool:
        check(cases, pool)


def test_wrong_uses_of_all_else():
    check(OTHERS)


def test_a_misspelt_name_has_a_suggestion():
    """Python makes it of what the error knows."""
    with pytest.raises(AttributeError) as caught:
        _ = pardata.sorce
    assert caught.value.name == "sorce" and caught.value.obj is pardata


def test_too_few_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with pytest.raises(pardata.CapacityError, match=r"\d+ .*descriptors.*(64|ulimit -n)"):
            numbers().map(abs, workers=30).run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
