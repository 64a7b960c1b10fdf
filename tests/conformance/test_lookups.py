"""One suite for all look-ups: what they answer does not depend on where the data lie."""

import contextlib
import os
import pickle

import numpy as np
import pytest

import pardata

RNG = np.random.default_rng(0)
NUMBERS = RNG.permutation(3000) * 3
WORDS = [f"word {i} é" for i in range(50)]

# keys and values; all that each look-up can hold
CONTENTS = {
    "int -> float": (NUMBERS, NUMBERS / 7),
    "int -> int8": (NUMBERS[:200], NUMBERS[:200].astype("i1")),
    "int -> bool": (NUMBERS[:200], NUMBERS[:200] % 2 == 0),
    "int -> str": (NUMBERS[:50], WORDS),
    "int -> bytes": (NUMBERS[:50], [word.encode() + b"\0" for word in WORDS]),
    "int -> vector": (NUMBERS[:200], RNG.random((200, 3), dtype="f4")),
    "int -> void": (NUMBERS[:200], RNG.integers(0, 255, (200, 32), np.uint8).view("V32")[:, 0]),
    "int -> complex": (NUMBERS[:200], NUMBERS[:200] * 1j),
    "int -> time": (NUMBERS[:200], NUMBERS[:200].astype("M8[s]")),
    "float -> int": (NUMBERS / 7, NUMBERS),
    "str -> int": (WORDS, np.arange(50)),
    "str -> str": (WORDS, WORDS[::-1]),
    "bytes -> float": ([word.encode() for word in WORDS], np.arange(50) / 3),
    "int -> columns": (NUMBERS[:50], {"x": np.arange(50), "name": WORDS, "v": RNG.random((50, 2))}),
    "nothing": (NUMBERS[:0], NUMBERS[:0]),
}


@contextlib.contextmanager
def table(folder, keys, values):
    with pardata.Table(keys, values) as made:
        yield made


@contextlib.contextmanager
def database(folder, keys, values):
    with pardata.Database.create(folder / "data.db", keys, values) as made:
        yield made


@contextlib.contextmanager
def service(folder, keys, values):
    with pardata.Table(keys, values) as made, pardata.serve(made) as server, server.lookup() as client:
        yield client


LOOKUPS = {"table": table, "database": database, "service": service}


@pytest.fixture(params=LOOKUPS)
def make(request, tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda keys, values: stack.enter_context(LOOKUPS[request.param](tmp_path, keys, values))


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and one == other


def row_of(values, index):
    """What a look-up of one key is to give."""
    if isinstance(values, dict):
        return {name: row_of(column, index) for name, column in values.items()}
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind != "M":
        return values.item(index)
    return values[index]


def many_of(values, indices):
    """What a look-up of many keys is to give."""
    if isinstance(values, dict):
        return {name: many_of(column, indices) for name, column in values.items()}
    if isinstance(values, np.ndarray):
        return values[indices]
    made = np.empty(len(indices), object)
    made[:] = [values[index] for index in indices]
    return made


@pytest.mark.parametrize("name", CONTENTS)
def test_gives_what_was_put_in(make, name):
    keys, values = CONTENTS[name]
    lookup = make(keys, values)
    plain = keys.tolist() if isinstance(keys, np.ndarray) else keys
    assert len(lookup) == len(plain)
    assert set(lookup) == set(plain)
    for index, key in list(enumerate(plain))[:200]:
        assert key in lookup
        assert same(lookup[key], row_of(values, index)), key
    asked = RNG.integers(0, len(plain), 1200) if plain else []
    many = keys[asked] if isinstance(keys, np.ndarray) and plain else [plain[index] for index in asked]
    if plain:
        assert same(lookup.get_many(many), many_of(values, asked))
    assert lookup.columns == (list(values) if isinstance(values, dict) else [None])


@pytest.mark.parametrize("name", ["int -> float", "float -> int", "int -> columns", "int -> str"])
def test_ranges(make, name):
    keys, values = CONTENTS[name]
    lookup = make(keys, values)
    order = np.argsort(keys)
    for low, high in [(None, None), (30, 90), (31, 60.5), (None, 33), (100, None), (50, 20), (10**6, None)]:
        wanted = [i for i in order if (low is None or keys[i] >= low) and (high is None or keys[i] < high)]
        found, columns = lookup.range(low, high)
        assert found.dtype == keys.dtype and found.tolist() == keys[wanted].tolist()
        if wanted:
            assert same(columns, many_of(values, wanted))


@pytest.mark.parametrize("as_bytes", [False, True])
def test_ranges_of_texts(make, as_bytes):
    words = ["", "a", "ab", "b", "é", "z", "\ud7ff", "\ue000", "\U0001f600", "aa\0", "Z"]
    keys = [word.encode() for word in words] if as_bytes else words
    lookup = make(keys, np.arange(len(keys)))
    a, b, z = (b"a", b"b", b"z") if as_bytes else ("a", "b", "z")
    for low, high in [(None, None), (a, b), (None, a), (z, None), (b, a)]:
        wanted = sorted(key for key in keys if (low is None or key >= low) and (high is None or key < high))
        found, values = lookup.range(low, high)
        assert found.tolist() == wanted and [keys[value] for value in values] == wanted


@pytest.mark.parametrize("keys", [[1, 2], [1.5, 2.5], ["1", "2"], [b"1", b"2"]], ids=repr)
def test_a_bound_of_another_kind_is_refused(make, keys):
    lookup = make(keys, [1, 2])
    for bound in (1, 1.5, "1", b"1", float("nan"), (1,), object()):
        if type(bound) is not type(keys[0]) and not (isinstance(keys[0], float | int) and bound in (1, 1.5)):
            for low, high in ((bound, None), (None, bound)):
                with pytest.raises(pardata.ConfigError, match="begins or ends at|range|cannot"):
                    lookup.range(low, high)
    if isinstance(keys[0], int):
        assert lookup.range(-(2**70), 2**70)[0].tolist() == keys


@pytest.mark.parametrize("name", CONTENTS)
def test_items_and_values_are_those_of_the_keys(make, name):
    lookup = make(*CONTENTS[name])
    keys = list(lookup)
    items = list(lookup.items())
    assert [key for key, _ in items] == keys and len(lookup.items()) == len(lookup.values()) == len(keys)
    for (key, value), other in zip(items[:50], lookup.values(), strict=False):
        assert same(value, lookup[key]) and same(value, other)
    if name == "str -> int":
        assert (WORDS[3], 3) in lookup.items() and 3 in lookup.values() and 1000 not in lookup.values()


def test_a_closed_look_up_says_so(make):
    lookup = make([1, 2], [10, 20])
    other = pickle.loads(pickle.dumps(lookup))
    assert (lookup[1], other[1]) == (10, 10)
    lookup.close()
    lookup.close()
    asks = [lambda: lookup[1], lambda: 1 in lookup, lambda: len(lookup), lambda: list(lookup), lookup.range,
            lambda: lookup.get_many([1]), lambda: list(lookup.items()), lambda: lookup.get(1)]  # fmt: skip
    for ask in asks:
        with pytest.raises(pardata.ClosedError, match="closed"):
            ask()
    assert "closed" in repr(lookup)
    assert other[1] == 10
    other.close()


def test_an_iteration_that_has_begun_comes_to_its_end(make):
    lookup = make([1, 2, 3], [10, 20, 30])
    begun = [iter(lookup), iter(lookup.items()), iter(lookup.values())]
    assert [next(each) for each in begun] == [1, (1, 10), 10]
    lookup.close()
    assert [list(each) for each in begun] == [[2, 3], [(2, 20), (3, 30)], [20, 30]]
    with pytest.raises(pardata.ClosedError, match="closed"):
        list(lookup.items())


def test_what_is_no_sequence_of_keys_is_told(make):
    lookup = make([1, 2], [10, 20])
    for wrong in (1, None, "12"):
        with pytest.raises(TypeError, match="sequence of them, not by"):
            lookup.get_many(wrong)
    with pytest.raises(TypeError, match="one axis"):
        lookup.get_many(np.ones((1, 2)))


def test_times_as_keys_are_refused_with_what_to_do(make):
    days = np.arange(3).astype("M8[D]")
    with pytest.raises(pardata.ConfigError, match=r"astype\('int64'\)"):
        make(days, [1, 2, 3])
    with pytest.raises(pardata.ConfigError, match="keys must be numbers"):
        make(np.arange(3) * 1j, [1, 2, 3])


@pytest.mark.parametrize("missing", [1, -5, 10**9, 2**70, 0.5, float("nan"), "0", b"0", None, (1, 2)], ids=repr)
def test_missing_keys(make, missing):
    lookup = make(np.arange(0, 30, 3), np.arange(10))
    assert missing not in lookup
    assert lookup.get(missing, "nothing") == "nothing"
    with pytest.raises(KeyError) as caught:
        lookup[missing]
    assert caught.value.args == (missing,)
    with pytest.raises(KeyError) as caught:
        lookup.get_many([0, missing, 2])
    assert caught.value.args == (missing,)
    assert lookup.get_many([missing, 27], default=-1).tolist() == [-1, 9]
    assert lookup.get_many([27, missing], default=None).tolist() == [9, None]
    assert lookup[np.int64(27)] == lookup[27.0] == 9


def test_texts_are_not_numbers(make):
    lookup = make(["1", "2"], [10, 20])
    assert 1 not in lookup and b"1" not in lookup and lookup["1"] == 10
    assert lookup.get_many([1, "2", b"1"], default=0).tolist() == [0, 20, 0]


def test_a_key_that_occurs_twice_is_refused(make):
    with pytest.raises(pardata.ConfigError, match="more than once"):
        make([1, 2, 1], [1, 2, 3])


def test_handles_are_small_and_open_lazily(make):
    lookup = make(NUMBERS, NUMBERS)
    pickled = pickle.dumps(lookup)
    assert len(pickled) < 1000
    with pickle.loads(pickled) as other:
        assert other[0] == 0 and len(other) == 3000
        assert other.version == lookup.version
    assert type(lookup).__name__ in repr(lookup)


def test_captured_in_a_stage_and_passed_to_a_pool(make):
    lookup = make(NUMBERS, NUMBERS * 2)
    assert lookup[3] == 6
    numbers = NUMBERS[:40].tolist()
    assert list(pardata.source(numbers).map(lambda number: lookup[number], workers=2)) == [2 * n for n in numbers]
    with pardata.WorkerPool(2) as pool:
        assert pool.submit(lambda given, keys: given.get_many(keys).sum(), lookup, NUMBERS).result() == sum(NUMBERS * 2)
        assert list(pool.map(lookup.get, [3, 4])) == [6, None]


def test_opened_again_after_a_fork(make):
    lookup = make(NUMBERS, NUMBERS)
    assert lookup[3] == 3
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert lookup[6] == 6 and lookup.get_many([9, 12]).tolist() == [9, 12]
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert lookup[9] == 9
