"""Every shape of stream on every engine: as plain Python does it, and as the serial engine does."""

import collections
import contextlib
import functools
import itertools
import os
import queue
import sys
import threading

import numpy as np
import pytest

import pardata
from pardata.errors import ConfigError, PlanError

ENGINES = ["serial", "threads", "processes"]
LARGE = 25_000


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def run(stream, engine, **options):
    with stream.iterate(engine=engine, **options) as items:
        return list(items)


def numbers(count=200):
    return pardata.source(range(count))


def arrays(count=6):
    return pardata.source([np.full(LARGE, float(number)) for number in range(count)])


# -- regrouping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 6, 7, 200])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batch(engine, count, drop_last):
    found = run(numbers(count).batch(3, drop_last=drop_last), engine)
    expected = [list(range(count))[at : at + 3] for at in range(0, count, 3)]
    assert found == [group for group in expected if len(group) == 3 or not drop_last]


@pytest.mark.parametrize(("size", "step"), [(1, 1), (3, 1), (3, 3), (3, 5), (4, 2)])
def test_window(engine, size, step):
    expected = [list(range(at, at + size)) for at in range(0, 50 - size + 1, step)]
    assert run(numbers(50).window(size, step), engine) == expected


def test_unbatch(engine):
    groups = [[1, 2], [], (3,), np.arange(4)]
    assert run(pardata.source(groups).unbatch(), engine) == [1, 2, 3, 0, 1, 2, 3]


@pytest.mark.parametrize("options", [{}, {"workers": 3}, {"errors": "skip"}], ids=str)
def test_flat_map(engine, options):
    stream = numbers(60).filter(lambda x: x % 2).flat_map(lambda x: range(x % 4), **options)
    assert run(stream, engine) == [y for x in range(1, 60, 2) for y in range(x % 4)]


def test_large_arrays_are_regrouped_without_being_changed(engine):
    stream = arrays().batch(2).map(np.stack).unbatch().window(3, 2).map(lambda window: [x.mean() for x in window])
    assert run(stream, engine) == [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]


def test_large_arrays_behind_a_regrouping_outlive_the_run(engine):
    def frames():
        for number in range(5):
            yield np.full(LARGE, number)

    for _ in range(5):
        kept = run(pardata.source(frames).batch(2).map(lambda group: group[0] + 1), engine)
        assert [(int(array[0]), int(array[-1])) for array in kept] == [(1, 1), (3, 3), (5, 5)]


def test_reduce(engine):
    assert run(numbers().reduce(lambda total, x: total + x, 0), engine) == [sum(range(200))]
    assert run(numbers(0).reduce(max, -1), engine) == [-1]


def test_reduce_may_change_its_value_and_not_the_users(engine):
    initial = np.zeros(LARGE)

    def add(total, x):
        total += x
        return total

    stream = arrays().reduce(add, initial)
    for _ in range(2):
        assert [total.mean() for total in run(stream, engine)] == [15.0]
    assert not initial.any()


def test_behind_a_regrouping_there_are_workers_again(engine):
    stream = pardata.source([range(40)]).unbatch().map(lambda x: x * 2, workers=3).batch(7).map(sum, workers=2)
    assert run(stream, engine) == [2 * sum(range(at, min(at + 7, 40))) for at in range(0, 40, 7)]


# -- fan-out -----------------------------------------------------------------------------------------------------------


def test_partition_gives_a_key_always_to_the_same_branch(engine):
    words = [f"word{number % 17}" for number in range(300)]
    branches = pardata.source(words).partition(lambda word: word, 3)
    tagged = [branch.map(lambda word, index=index: (index, word)) for index, branch in enumerate(branches)]
    seen = collections.defaultdict(set)
    found = run(pardata.merge(*tagged), engine)
    for index, word in found:
        seen[word].add(index)
    assert sorted(word for _, word in found) == sorted(words)
    assert {len(branches) for branches in seen.values()} == {1}
    assert len({next(iter(branches)) for branches in seen.values()}) > 1


def test_partition_and_merge_in_order_gives_the_old_order(engine):
    low, high, rest = numbers().partition(lambda x: x, 3)
    merged = pardata.merge(low.map(lambda x: x, workers=2, ordered=False), high, rest.filter(bool), policy="ordered")
    assert run(merged, engine) == list(range(200))


@pytest.mark.parametrize("chunksize", [1, 64])
def test_merge_in_order_keeps_the_items_of_one_number_together(engine, chunksize):
    stream = numbers(50).map(lambda x: x, chunksize=chunksize)
    merged = pardata.merge(stream, stream.filter(lambda x: x % 3), stream.map(lambda x: -x), policy="ordered")
    expected = [y for x in range(50) for y in ([x, x, -x] if x % 3 else [x, -x])]
    assert run(merged, engine) == expected
    again = pardata.zip(merged.map(lambda x: x), merged.filter(lambda x: x % 2))
    assert run(again, engine) == [(x, x) for x in expected if x % 2]


def test_scatter_shares_the_items(engine):
    branches = numbers(500).map(lambda x: x, chunksize=4).scatter(3)
    tagged = [branch.map(lambda x, index=index: (index, x)) for index, branch in enumerate(branches)]
    found = run(pardata.merge(*tagged), engine)
    assert sorted(x for _, x in found) == list(range(500))
    assert run(pardata.merge(*numbers(100).scatter(2), policy="ordered"), engine) == list(range(100))


def test_scatter_to_one_branch_passes_all_items(engine):
    (only,) = numbers(9).scatter(1)
    assert run(only, engine) == list(range(9))
    assert run(only.map(lambda x: -x).batch(4), engine) == [[0, -1, -2, -3], [-4, -5, -6, -7], [-8]]


def test_take_on_one_branch_of_a_scatter_is_refused(engine):
    first, second = numbers().scatter(2)
    for stream in (pardata.merge(first.take(2), second), pardata.merge(first.map(abs).take(2), second | iter)):
        with pytest.raises(PlanError, match=r"take\(2\) .* ends one branch of scatter .* partition"):
            run(stream, engine)
    with pytest.raises(PlanError, match=r"take\(2\) .* ends one branch of scatter"):
        pardata.run(first.take(2), second, engine=engine)
    assert len(run(pardata.merge(first, second | iter).take(5), engine)) == 5
    branches = numbers().take(6).scatter(2)
    assert sorted(run(pardata.merge(*(branch.skip(0) for branch in branches)), engine)) == list(range(6))
    assert run(numbers().scatter(1)[0].take(2), engine) == [0, 1]


def test_scatter_goes_round_a_branch_that_is_busy():
    """Here the first of two branches does nothing until the other has done all the rest."""
    done = threading.Event()
    seen = []

    def slow(x):
        assert done.wait(30)
        return x

    def fast(x):
        seen.append(x)
        if len(seen) >= 20:
            done.set()
        return x

    first, second = numbers(30).map(lambda x: x, chunksize=1).scatter(2)
    merged = pardata.merge(first.map(slow, kind="thread"), second.map(fast, kind="thread"))
    assert sorted(run(merged, "processes", tokens=64)) == list(range(30))


def test_large_arrays_of_branches(engine):
    even, odd = arrays().partition(lambda x: int(x[0]), 2)
    merged = pardata.merge(even.map(lambda x: x * 2, inplace=True), odd, odd, policy="ordered")
    assert [x[0] for x in run(merged, engine)] == [0, 1, 1, 4, 3, 3, 8, 5, 5]


# -- fan-in ------------------------------------------------------------------------------------------------------------


def letters(text):
    return pardata.source(list(text))


def test_concat(engine):
    both = pardata.concat(numbers(100), numbers(50).map(lambda x: -x, workers=2), letters("ab") | iter)
    assert run(both.map(lambda x: x, workers=2), engine) == [*range(100), *(-x for x in range(50)), "a", "b"]


def test_concat_does_not_need_tokens_for_what_waits(engine):
    assert run(pardata.concat(numbers(300), numbers(300)), engine, tokens=1) == [*range(300), *range(300)]


def test_round_robin(engine):
    merged = pardata.merge(letters("abcd"), letters("xy"), letters("123"), policy="round_robin")
    assert run(merged.map(str, workers=2), engine) == list("ax1by2c3d")


def test_fair(engine):
    merged = pardata.merge(numbers(300), letters("abc"), policy="fair")
    found = run(merged, engine)
    assert [x for x in found if isinstance(x, int)] == list(range(300))
    assert [x for x in found if isinstance(x, str)] == ["a", "b", "c"]


# -- sources and sinks -------------------------------------------------------------------------------------------------


async def count_slowly(count):
    import asyncio

    for number in range(count):
        await asyncio.sleep(0)
        yield number


async def count_to_five():
    async for number in count_slowly(5):
        yield number


def test_asynchronous_sources(engine):
    assert run(pardata.source(count_to_five), engine) == [0, 1, 2, 3, 4]
    assert run(pardata.source(functools.partial(count_slowly, 3)), engine) == [0, 1, 2]
    assert run(pardata.source(count_slowly(4)), engine) == [0, 1, 2, 3]


def test_queue_as_a_source(engine):
    items = queue.Queue()
    for item in [*range(10), None, 11]:
        items.put(item)
    assert run(pardata.source(iter(items.get, None)), engine) == list(range(10))


@pytest.mark.parametrize("shape", [(7,), (5, 3), (4, LARGE), (0, 3)], ids=str)
def test_file_to_file(engine, tmp_path, shape):
    given = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / "in.npy", given)
    pardata.source(tmp_path / "in.npy").map(lambda row: row + 1).to(tmp_path / "out.npy").run(engine=engine)
    if shape[0]:
        np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), given + 1, strict=True)
    else:
        assert len(np.load(tmp_path / "out.npy")) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy", "out.npy"]


def test_file_that_is_not_finished_does_not_get_its_name(engine, tmp_path):
    (tmp_path / "out.npy").write_bytes(b"older")
    with pytest.raises(ValueError, match=r"row 1 of .*out.npy has shape \(2,\) and dtype int64"):
        pardata.source([np.zeros(2), np.zeros(2, int)]).to(tmp_path / "out.npy").run(engine=engine)
    assert (tmp_path / "out.npy").read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["out.npy"]


class TakesTheFileAway:
    def __init__(self, path):
        self.path = path

    def __array__(self, *_, **__):
        os.unlink(self.path)
        raise LookupError("no array")


def test_what_ended_a_file_is_told_also_if_its_beginning_is_gone(engine, tmp_path):
    rows = pardata.source([TakesTheFileAway(tmp_path / "out.npy.part")])
    with pytest.raises(LookupError, match="no array"):
        rows.to(tmp_path / "out.npy").run(engine=engine)


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_a_file_that_an_ended_run_has_begun_is_removed(engine, tmp_path):
    def fail(number):
        if number == 100:
            raise LookupError(number)

    rows = pardata.source(itertools.count())
    with pytest.raises(LookupError, match="100"):
        pardata.run(rows.to(tmp_path / "out.npy"), rows.map(fail), engine=engine)
    assert os.listdir(tmp_path) == []


def test_several_sinks_of_one_run(engine, tmp_path):
    shared = numbers(40).map(lambda x: x + 1)
    found, names = [], tmp_path / "names"

    def write(x):
        with open(names, "a") as file:
            file.write(f"{x}\n")

    report = pardata.run(
        shared.to(found),
        shared.filter(lambda x: x > 35).to(write),
        shared.map(float).to(tmp_path / "x.npy"),
        engine=engine,
    )
    assert found == list(range(1, 41))
    assert names.read_text().split() == ["36", "37", "38", "39", "40"]
    assert np.load(tmp_path / "x.npy").tolist() == found
    assert [stage.name for stage in report.stages].count("source") == 1
    assert {stage.name: (stage.items, stage.dropped) for stage in report.stages}["write"] == (5, 0)


# -- threads among processes -------------------------------------------------------------------------------------------


def test_threads_among_processes(engine):
    barrier = threading.Barrier(2)  # cannot be pickled; and two have to be in it at once

    def meet(x):
        if x < 4:  # the first two; a later one may lie behind the one that waits for it
            barrier.wait(30)
        return x

    stream = numbers(20).map(lambda x: x * 2, chunksize=1)
    if engine != "serial":
        stream = stream.map(meet, workers=2, kind="thread")
    assert run(stream.map(lambda x: x + 1), engine) == [2 * x + 1 for x in range(20)]


def test_error_in_a_thread_is_the_original_object(engine):
    error = LookupError("in a thread")

    def fail(x):
        raise error

    with pytest.raises(LookupError) as caught:
        run(numbers(5).map(lambda x: x).map(fail, kind="thread"), engine)
    assert caught.value is error


# -- stages with a state -----------------------------------------------------------------------------------------------


class Counter:
    """Says when it is opened and closed."""

    def __init__(self, log):
        self.log = log
        self.seen = None

    def note(self, text):
        with open(self.log, "a") as file:
            file.write(text + "\n")

    def open(self):
        self.seen = 0
        self.note("open")

    def __call__(self, x):
        self.seen += 1
        return x, self.seen

    def close(self):
        self.note(f"close {self.seen}")


def test_stage_is_opened_and_closed(engine, tmp_path):
    log = tmp_path / "log"
    found = run(numbers(30).map(Counter(str(log)), workers=2, chunksize=1), engine)
    assert [x for x, _ in found] == list(range(30))
    lines = log.read_text().split("\n")[:-1]
    workers = 1 if engine == "serial" else 2
    assert lines.count("open") == workers
    assert sum(int(line.split()[1]) for line in lines if line.startswith("close")) == 30


@pytest.mark.parametrize("how", ["break", "error"])
def test_stage_is_closed_when_the_run_ends_early(engine, tmp_path, how):
    log = tmp_path / "log"

    def fail(pair):
        if how == "error" and pair[0] == 5:
            raise ValueError("enough")
        return pair

    with (
        pytest.raises((ValueError, KeyError)),
        pardata.source(itertools.count()).map(Counter(str(log))).map(fail).iterate(engine=engine) as items,
    ):
        for x, _ in items:
            if x == 5:
                raise KeyError(x)
    assert [line.split()[0] for line in log.read_text().split("\n")[:-1]] == ["open", "close"]


class Doubler:
    """A class is made in its worker."""

    def __init__(self):
        self.lock = threading.Lock()  # cannot be pickled

    def __call__(self, x):
        return 2 * x


def test_class_whose_objects_can_be_called_is_made_in_its_worker(engine):
    assert run(numbers(5).map(Doubler, workers=2), engine) == [0, 2, 4, 6, 8]
    assert run(numbers(5).map(str), engine) == list("01234")


class RunningTotal:
    """A generator filter that can be taken up again."""

    def __init__(self):
        self.total = 0

    def __call__(self, items):
        for item in items:
            self.total += item
            yield self.total

    def snapshot(self):
        return self.total

    def restore(self, state):
        self.total = state


def test_generator_filter_with_a_state(engine):
    stream = numbers(100) | RunningTotal()
    for _ in range(2):
        assert run(stream, engine) == list(itertools.accumulate(range(100)))


# -- items that fail ---------------------------------------------------------------------------------------------------


def fail_at(*bad):
    def fail(x):
        if x in bad:
            raise ValueError(f"bad {x}")
        return x * 10

    return fail


@pytest.mark.parametrize("workers", [1, 3])
def test_dead_letters_are_a_stream(engine, workers):
    good = numbers(50).map(fail_at(7, 33), workers=workers, errors="stream", chunksize=4)
    letters, results = [], []
    report = pardata.run(good.to(results), good.failed.to(letters), engine=engine)
    assert results == [10 * x for x in range(50) if x not in (7, 33)]
    assert [(letter.stage, letter.number, letter.item, str(letter.error)) for letter in letters] == [
        ("fail", 7, 7, "bad 7"),
        ("fail", 33, 33, "bad 33"),
    ]
    assert all(type(letter.error) is ValueError and "bad" in letter.traceback for letter in letters)
    assert [stage.failed for stage in report.stages if stage.name == "fail"] == [2]
    assert report.skipped == []


def test_filter_and_flat_map_may_fail_as_a_map_may(engine):
    def keep(x):
        if x % 10 == 3:
            raise ValueError(f"bad {x}")
        return x % 2

    kept, letters = [], []
    good = numbers(30).filter(keep, errors="stream", workers=2)
    pardata.run(good.to(kept), good.failed.to(letters), engine=engine)
    assert kept == [x for x in range(30) if x % 2 and x % 10 != 3]
    assert [letter.item for letter in letters] == [3, 13, 23]
    with pytest.raises(ValueError, match="bad 23"):
        run(numbers(30).filter(keep, errors="skip", max_errors=2), engine)

    def twice(x):
        keep(x)
        return [x, x]

    found = run(numbers(5).flat_map(twice, errors="skip", max_errors=1), engine)
    assert found == [0, 0, 1, 1, 2, 2, 4, 4]


def test_filter_and_flat_map_try_again(engine, tmp_path):
    def busy_once(x):
        if not (tmp_path / str(x)).exists():
            (tmp_path / str(x)).touch()
            raise OSError("busy")
        return [x]

    assert run(numbers(5).filter(busy_once, retries=1), engine) == list(range(5))
    assert run(numbers(9).flat_map(busy_once, retries=1), engine) == list(range(9))


def test_time_limit_is_refused_on_threads_before_anything_starts():
    with pytest.raises(ConfigError, match=r"'abs' .*timeout_s= needs processes"):
        numbers(3).map(abs, timeout_s=5).run(engine="threads")


def test_dead_letters_can_be_mended_and_merged_in_order(engine):
    good = numbers(20).map(fail_at(3), errors="stream")
    mended = pardata.merge(good, good.failed.map(lambda letter: -letter.item), policy="ordered")
    assert run(mended, engine) == [-3 if x == 3 else 10 * x for x in range(20)]


def test_results_that_cannot_be_sent_fail_like_others():
    def make(x):
        return threading.Lock() if x % 10 == 3 else x

    class Sulky:
        def __reduce__(self):
            raise ValueError("not today")

    with numbers(40).map(lambda x: Sulky() if x == 5 else x, errors="skip").iterate() as items:
        assert list(items) == [x for x in range(40) if x != 5]
    assert "not today" in items.report().skipped[0].error
    stream = numbers(40).map(make, errors="skip").map(lambda x: x)
    with stream.iterate() as items:
        assert list(items) == [x for x in range(40) if x % 10 != 3]
    report = items.report()
    assert [skipped.number for skipped in report.skipped] == [3, 13, 23, 33]
    assert "lock" in report.skipped[0].error
    good = numbers(20).map(make, errors="stream")
    merged = pardata.merge(good, good.failed.map(lambda letter: letter.number), policy="ordered")
    assert run(merged, "processes") == list(range(20))


@pytest.mark.parametrize(("limit", "passes"), [(2, True), (1, False), (0.1, True), (0.02, False)])
@pytest.mark.parametrize("errors", ["skip", "stream"])
def test_failed_items_are_limited(engine, errors, limit, passes):
    stream = numbers(40).map(fail_at(3, 30), errors=errors, max_errors=limit)
    streams = [stream] if errors == "skip" else [stream, stream.failed]
    if passes:
        pardata.run(*streams, engine=engine)
        return
    with pytest.raises(ValueError, match="bad") as caught:
        pardata.run(*streams, engine=engine)
    assert f"max_errors={limit}" in "".join(caught.value.__notes__)


def test_retries(engine, tmp_path):
    def fail_twice(x):
        tries = tmp_path / str(x)
        with open(tries, "a") as file:
            file.write("x")
        if x % 5 == 0 and len(tries.read_text()) < 3:
            raise OSError("busy")
        return x

    assert run(numbers(12).map(fail_twice, retries=2, workers=2), engine) == list(range(12))
    assert len((tmp_path / "10").read_text()) == 3
    with pytest.raises(OSError, match="busy"):
        run(numbers(3).map(lambda x: (_ for _ in ()).throw(OSError("busy")), retries=1), engine)


@pytest.mark.parametrize("method", ["open", "close"])
def test_exit_of_a_stage_with_a_state_is_told(engine, method):
    class Exits:
        def __call__(self, x):
            return x

    setattr(Exits, method, lambda self: sys.exit("no licence"))
    with pytest.raises(RuntimeError, match=r"sys.exit\('no licence'\)"):
        run(numbers(5).map(Exits()), engine)


def test_exit_of_a_stage_that_is_being_made_is_told(engine):
    class Exits:
        def __init__(self):
            sys.exit("no licence")

        def __call__(self, x):
            return x

    with pytest.raises(RuntimeError, match=r"sys.exit\('no licence'\)") as caught:
        run(numbers(5).map(Exits), engine)
    assert "in stage 'Exits'" in caught.value.__notes__


class ExitsInARun:
    """An iterable that is looked at when a stream is made of it."""

    def __init__(self):
        self.looks = 0

    def __iter__(self):
        self.looks += 1
        return iter(()) if self.looks == 1 else sys.exit("no licence")


def exits_when_closed():
    try:
        yield from range(5)
    finally:
        sys.exit("no licence")


@pytest.mark.parametrize("make", [ExitsInARun, exits_when_closed])
def test_exit_of_a_source_is_told(engine, make):
    with pytest.raises(RuntimeError, match=r"sys.exit\('no licence'\)"):
        run(pardata.source(make()), engine)


def raises_generator_exit(*_):
    yield 1
    raise GeneratorExit


SHAPES_THAT_RAISE = [
    lambda: numbers(2).map(lambda x: list(raises_generator_exit())),
    lambda: pardata.source(raises_generator_exit),
    lambda: pardata.source(raises_generator_exit()),
    lambda: numbers(2) | raises_generator_exit,
    lambda: numbers(2).map(str) | raises_generator_exit | list,
]


@pytest.mark.parametrize("make", SHAPES_THAT_RAISE)
def test_generator_exit_of_a_function_is_told(engine, make):
    with pytest.raises(RuntimeError, match="the function raised GeneratorExit") as caught:
        run(make(), engine)
    assert caught.value.__notes__[0].startswith("in stage ")


@pytest.mark.parametrize("make", [lambda: exits_when_closed, exits_when_closed])
def test_exit_of_a_generator_that_is_closed_does_not_end_the_caller(engine, make):
    items = pardata.source(make()).iterate(engine=engine)
    assert next(items) == 0
    with contextlib.suppress(RuntimeError):
        items.close()


def test_exit_in_a_stage_is_told_at_once(engine):
    with pytest.raises(RuntimeError, match=r"sys.exit\('no licence'\)") as caught:
        run(numbers(5).map(lambda x: sys.exit("no licence")), engine)
    assert "item 0" in "".join(caught.value.__notes__)


# -- what is refused ---------------------------------------------------------------------------------------------------


def shared_by_both():
    shared = numbers(3)
    return shared, shared | iter


def zip_after(regroup):
    shared = numbers(9)
    return pardata.zip(shared, regroup(shared))


def dead_letters_unread():
    return numbers(3).map(abs, errors="stream")


def one_branch_unread():
    return numbers(3).partition(abs, 2)[0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pardata.concat(*shared_by_both()), "must not have a common source: 'source' is one"),
        (lambda: pardata.merge(*shared_by_both(), policy="round_robin"), "must not have a common source"),
        (lambda: pardata.merge(*shared_by_both(), policy="ordered"), "puts items in order by their number"),
        (lambda: zip_after(lambda s: s.batch(2)), "nothing that numbers items anew"),
        (lambda: zip_after(lambda s: s.flat_map(list)), "nothing that numbers items anew"),
        (lambda: zip_after(lambda s: pardata.merge(s, s, policy="ordered")), "one number may stand for several"),
        (dead_letters_unread, "`failed` must be read"),
        (one_branch_unread, r"nobody reads branch 1 of 2"),
    ],
)
def test_wrong_plans(engine, make, words):
    with pytest.raises(PlanError, match=words) as caught:
        run(make(), engine)
    assert "test_shapes.py:" in str(caught.value)


PAIRED = {  # joins of two sources, and whether they can be read beside a concat of the two
    "zip": (lambda a, b: pardata.zip(a.map(abs), b, by="position"), False),
    "turns": (lambda a, b: pardata.merge(b, a, policy="round_robin"), False),
    "the other way": (lambda a, b: pardata.concat(b, a), False),
    "the same": (lambda a, b: pardata.concat(a, b.map(abs)), True),
    "arrival": (lambda a, b: pardata.merge(a, b), True),
}


@pytest.mark.parametrize("kind", PAIRED)
def test_joins_beside_a_concat_that_would_wait_for_each_other_are_refused(engine, kind):
    make, can_be_read = PAIRED[kind]
    a, b = numbers(300), numbers(300)
    streams = [pardata.concat(a, b).to([]), make(a, b).to([])]
    if can_be_read:
        pardata.run(*streams, engine=engine)
    else:
        with pytest.raises(PlanError, match="reads 'source' to its end before 'source-2'"):
            pardata.run(*streams, engine=engine)


@pytest.mark.parametrize(
    "make",
    [
        lambda: numbers().batch(0),
        lambda: numbers().window(2, 0),
        lambda: numbers().partition(abs, -1),
        lambda: numbers().scatter(1.5),
        lambda: numbers().reduce(3, 0),
        lambda: numbers().flat_map(None),
        lambda: numbers().to(3),
        lambda: numbers().to("results.csv"),
        lambda: numbers().map(abs, kind="fiber"),
        lambda: numbers().map(abs, retries=-1),
        lambda: numbers().map(abs, timeout_s=0),
        lambda: numbers().map(abs, max_errors=3),
        lambda: numbers().map(abs, errors="skip", max_errors=1.5),
        lambda: numbers().map(abs, inplace=True, retries=1),
        lambda: numbers().map(abs, timeout_s=1, kind="thread"),
        lambda: numbers().map(abs).failed,
        lambda: pardata.merge(numbers(), policy="random"),
        lambda: pardata.merge(),
        lambda: pardata.concat([1]),
        lambda: pardata.run(),
        lambda: pardata.source("missing.npy"),
        lambda: pardata.source("table.csv"),
        lambda: numbers().run(max_restarts=-1),
    ],
)
def test_wrong_arguments_are_refused_at_once(make):
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize("engine", ["processes", "threads", "serial"])
def test_a_filter_that_is_no_generator_and_takes_too_many_items_fails(engine):
    def head(items):
        return [next(items) for _ in range(3)]

    with pytest.raises(RuntimeError, match="the function raised StopIteration"):
        list((pardata.source([1, 2]) | head).iterate(engine=engine))


@pytest.mark.parametrize("engine", ["processes", "threads"])
def test_a_function_of_one_item_behind_a_bar_is_told_so(engine):
    def square(item):
        return item * item

    with pytest.raises(TypeError, match="unsupported operand") as caught:
        list((pardata.source([1, 2]) | square).iterate(engine=engine))
    assert any("use stream.map" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("engine", ["processes", "threads", "serial"])
@pytest.mark.parametrize("method", ["map", "filter", "to"])
def test_a_stop_iteration_in_a_thread_of_the_run_is_an_error(engine, method):
    def stop(item):
        return item if item != 2 else next(iter([]))

    stage = getattr(pardata.source(range(5)), method)(stop, kind="thread")
    with pytest.raises(RuntimeError, match="the function raised StopIteration") as caught:
        stage.run(engine=engine) if method == "to" else list(stage.iterate(engine=engine))
    assert "in stage 'stop', item 2: 2" in caught.value.__notes__
