"""A table in the process that made it, and opened again from its pickle."""

import os
import pickle
import resource
import threading

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pardata
from pardata.lookup.generation_pointer import ID_BYTES, GenerationPointer, tag_of
from pardata.memory.sealed import Draft, SealedFile

KEYS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), unique=True),
    st.lists(st.floats(allow_nan=False), unique=True),
    st.lists(st.text(), unique=True),
    st.lists(st.binary(), unique=True),
)
ANYTHING = st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.tuples(st.text(), st.booleans()))
VALUES = st.one_of(*map(st.lists, (ANYTHING, st.integers(), st.floats(allow_nan=False), st.text(), st.binary())))


@settings(max_examples=200, deadline=None)
@given(KEYS, VALUES)
def test_is_the_dict_that_it_was_made_from(keys, values):
    wanted = dict(zip(keys, values, strict=False))
    with pardata.Table(wanted) as table, pickle.loads(pickle.dumps(table)) as other:
        for made in (table, other):
            assert len(made) == len(wanted)
            assert dict(made) == wanted
            assert {key: type(made[key]) for key in wanted} == {key: type(value) for key, value in wanted.items()}
            assert made.get_many(list(wanted)).tolist() == list(wanted.values())


def test_missing_keys():
    with pardata.Table({1: 10, 5: 50}) as table:
        for key in (2, 0, 9, "1", b"1", None, 1.5, 2**70, -(2**70), (1,), float("nan")):
            with pytest.raises(KeyError, match=r".") as caught:
                table[key]
            assert caught.value.args == (key,)
            assert key not in table
            assert table.get(key, 7) == 7
            assert table.get_many([1, key], default=-1).tolist() == [10, -1]
        with pytest.raises(KeyError) as caught:
            table.get_many([1, 2, 3])
        assert caught.value.args == (2,)
        assert 1.0 in table and np.int8(5) in table and True in table


@pytest.mark.parametrize("key", ["x", 1])
def test_texts_that_share_a_checksum_are_told_apart(monkeypatch, key):
    monkeypatch.setattr("pardata.lookup.keys.zlib.crc32", lambda data: 7)
    wanted = {f"k{i}": i for i in range(50)}
    with pardata.Table(wanted) as table:
        assert dict(table) == wanted
        assert table.get_many(list(wanted)).tolist() == list(wanted.values())
        assert key not in table


def test_many_keys_in_any_order_and_of_any_number_type():
    rng = np.random.default_rng(0)
    keys = rng.permutation(20_000) * 3
    with pardata.Table(keys, keys * 1.5) as table:
        asked = rng.choice(keys, 5_000)
        for kind in (np.int64, np.int32, np.uint64, np.float64):
            assert np.array_equal(table.get_many(asked.astype(kind)), asked * 1.5)
        assert table.get_many(np.array([3.5, 3.0]), default=np.nan).tolist()[1] == 4.5
        assert table.get_many([], default=0).shape == (0,)
        assert table.get_many(np.arange(300), default=np.nan)[::3].tolist() == (np.arange(0, 300, 3) * 1.5).tolist()


def test_ranges_are_views_in_order_of_the_keys():
    with pardata.Table({3: "c", 1: "a", 2: "b", 9: "z"}) as table:
        assert [part.tolist() for part in table.range(2, 9)] == [[2, 3], ["b", "c"]]
        assert table.range()[0].tolist() == [1, 2, 3, 9]
        assert table.range(4, 1)[1].tolist() == []
        assert table.range(low=3.5)[1].tolist() == ["z"]


def test_columns():
    records = np.array([(2, 0.5, b"two"), (1, 0.25, b"one")], [("id", "i4"), ("x", "f4"), ("name", "S8")])
    frame = pandas.DataFrame({"id": [2, 1], "x": np.array([0.5, 0.25], "f4"), "name": ["two", "one"]})
    for data, key in ((records, "id"), (frame, "id"), (frame.set_index("id"), None)):
        with pardata.Table(data, key=key) as table:
            assert table.columns == ["x", "name"]
            assert table[1]["x"] == 0.25 and table[1]["name"] in ("one", b"one")
            many = table.get_many([2, 1])
            assert many["x"].dtype == np.float32 and many["x"].tolist() == [0.5, 0.25]
            filled = table.get_many([2, 7], default=0)
            assert filled["x"].tolist() == [0.5, 0]


def test_arrays_as_values_are_read_only_rows():
    with pardata.Table([10, 20], np.arange(6.0).reshape(2, 3)) as table:
        row = table[20]
        assert row.tolist() == [3, 4, 5]
        with pytest.raises(ValueError, match="read-only"):
            row[0] = 1
        assert table.get_many([20, 10]).shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2, 1], [1, 2, 3]), "the key 1 occurs more than once"),
        ((["b", "a", "b"], [1, 2, 3]), "the key 'b' occurs more than once"),
        (([1, "a"], [1, 2]), "keys must be"),
        (([1, 2], [1]), "2 keys, but 1 values"),
        (([1.0, float("nan")], [1, 2]), "NaN"),
        ((np.array([2**63], "u8"), [1]), "does not fit"),
        ((np.zeros((2, 2)), [1, 2]), "keys must be"),
        ((7,), "not int"),
        (([1], {}), "at least one column"),
        (([1, 2], 5), "sequences of them, not as 5"),
        ((1, [5]), "sequences of them, not as 1"),
        (([1, 2], {"x": "ab"}), "not as 'ab'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(pardata.ConfigError, match=message):
        pardata.Table(*arguments)


def test_key_must_name_a_column():
    with pytest.raises(pardata.ConfigError, match="'nothing'"):
        pardata.Table({"a": [1], "b": [2]}, key="nothing")
    with pytest.raises(pardata.ConfigError, match="leave out key="):
        pardata.Table([1], [2], key="a")
    with pytest.raises(pardata.SerializationError, match="lock"):
        pardata.Table({1: threading.Lock()})


def test_replace_changes_handles_that_are_open_and_leaves_arrays_that_are_held():
    with pardata.Table([1, 2], [1.0, 2.0]) as table, pickle.loads(pickle.dumps(table)) as other:
        _, held = other.range()
        for generation in range(2, 6):
            table.replace({"a": generation})
            assert (other["a"], other.generation, list(table)) == (generation, generation, ["a"])
        assert held.tolist() == [1.0, 2.0]


def test_an_iteration_over_items_is_of_one_generation():
    with pardata.Table({1: "a", 2: "b"}) as table:
        items, values = iter(table.items()), iter(table.values())
        assert (next(items), next(values)) == ((1, "a"), "a")
        table.replace({2: "c", 3: "d"})
        assert (list(items), list(values)) == ([(2, "b")], ["b"])
        assert dict(table.items()) == {2: "c", 3: "d"}


def test_a_failed_replacement_changes_nothing():
    with pardata.Table({1: 2}) as table:
        with pytest.raises(pardata.ConfigError):
            table.replace([1, 1], [2, 2])
        with pytest.raises(pardata.SerializationError):
            table.replace({1: threading.Lock()})
        assert dict(table) == {1: 2} and table.generation == 1
        other = pickle.loads(pickle.dumps(table))
        with pytest.raises(pardata.ConfigError, match="only the process that made"):
            other.replace({})


def test_a_closed_table_says_so_and_who_has_it_open_goes_on():
    table = pardata.Table({1: 2})
    pickled = pickle.dumps(table)
    late, other = pickle.loads(pickled), pickle.loads(pickled)
    assert other[1] == 2
    table.close()
    with pytest.raises(pardata.ClosedError):
        table[1]
    with pytest.raises(pardata.BrokenError, match="let it go"):
        late[1]
    assert other[1] == 2
    assert "closed" in repr(table)
    del table
    with pytest.raises(pardata.BrokenError, match="let it go"):
        pickle.loads(pickled)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_table_that_is_closed_while_another_thread_opens_its_contents_keeps_nothing(monkeypatch, moment):
    def close_beside(self, name, value):
        """Close it right before or right after what was opened is kept."""
        is_moment = name == "_current" and value is not None
        if is_moment:
            monkeypatch.undo()
        if is_moment and moment == "before":
            self.close()
        object.__setattr__(self, name, value)
        if is_moment and moment == "after":
            self.close()

    with pardata.Table({1: 2}) as table, pickle.loads(pickle.dumps(table)) as other:
        opens = [(other, lambda: other.get_many([1]).tolist() == [2]), (table, lambda: table.replace({1: 3}) is None)]
        for made, ask in opens:
            monkeypatch.setattr(pardata.Table, "__setattr__", close_beside, raising=False)
            assert ask()
            assert (made._current, made._published) == (None, None)
            with pytest.raises(pardata.ClosedError):
                made[1]


def test_more_than_there_is_memory_for_is_refused_before_anything_is_written():
    huge = np.lib.stride_tricks.as_strided(np.zeros(1), (1 << 36,), (0,))
    with pytest.raises(pardata.CapacityError, match="are available"):
        Draft({"huge": (huge.dtype, huge.shape)}, None, b"")


def test_a_reader_that_finds_something_else_behind_the_number_looks_again():
    pointer = GenerationPointer(bytes(ID_BYTES))

    def sealed(generation):
        draft = Draft({"x": (np.dtype(int), (1,))}, None, tag_of(pointer.identity, generation))
        draft.arrays["x"][0] = generation
        return draft.seal()

    first, second = sealed(1), sealed(2)
    reader = GenerationPointer(pointer.identity, pointer.path)
    pointer.publish(1, second.path)  # as if the number had been given to another file
    opened = []

    def open_file(path, tag):
        opened.append(path)
        pointer.publish(2, second.path)  # the maker goes on while the reader looks
        return SealedFile.open(path, tag)

    with pytest.MonkeyPatch.context() as patch:
        seen = type("Seen", (), {"open": staticmethod(open_file)})
        patch.setattr("pardata.lookup.generation_pointer.SealedFile", seen)
        generation, file = reader.open_current()
    assert (generation, file.arrays["x"].tolist(), len(opened)) == (2, [2], 2)
    pointer.publish(3, first.path)
    with pytest.raises(pardata.BrokenError):
        reader.open_current()


def test_a_path_that_is_overwritten_while_it_is_read_is_read_again():
    pointer = GenerationPointer(bytes(ID_BYTES))
    draft = Draft({}, None, tag_of(pointer.identity, 3))
    file = draft.seal()
    pointer.publish(3, "/proc/torn\0path")
    reader = GenerationPointer(pointer.identity, pointer.path)
    whole = GenerationPointer._path_of

    def path_of(self, generation):
        path = whole(self, generation)
        pointer.publish(3, file.path)  # the maker has come to the end of the slot
        return path

    words, generations = reader.words, iter([1, 3, 3])

    class Words:  # the slot of generation 1 is overwritten by that of 3
        def __getitem__(self, index):
            return next(generations, words[index])

    reader.words = Words()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GenerationPointer, "_path_of", path_of)
        assert reader.open_current()[0] == 3


def test_the_file_of_a_generation_stays_open_to_others_when_a_thread_of_the_maker_was_faster():
    with pardata.Table({1: "a"}) as table, pickle.loads(pickle.dumps(table)) as other:
        publish = table._pointer.publish
        threads = []

        def publish_and_look_up(*arguments):
            publish(*arguments)
            thread = threading.Thread(target=lambda: threads.append(table[1]))
            thread.start()
            thread.join()

        table._pointer.publish = publish_and_look_up
        table.replace({1: "b"})
        table._current = None  # as if that thread came to its end last
        assert (threads, other[1], table[1]) == (["b"], "b", "b")


def test_a_reader_that_can_open_no_more_files_does_not_go_on_with_the_old_contents():
    with pardata.Table({1: "a"}) as table, pickle.loads(pickle.dumps(table)) as other:
        assert other[1] == "a"
        table.replace({1: "b"})
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = os.open(os.devnull, os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken, limits[1]))
        try:
            with pytest.raises(pardata.CapacityError, match="ulimit -n"):
                other[1]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            os.close(taken)
        assert other[1] == "b"


def test_nobody_can_write_to_a_sealed_file():
    draft = Draft({"x": (np.dtype(int), (4,))}, "info", b"t" * 24)
    file = draft.seal()
    other = SealedFile.open(file.path, b"t" * 24)
    assert other.info == "info" and "x" in repr(other)
    with pytest.raises(ValueError, match="read-only"):
        other.arrays["x"][0] = 1
    for action in (lambda raw: raw.write(b"x"), lambda raw: raw.truncate(0)):
        with pytest.raises(OSError), open(file.path, "r+b", buffering=0) as raw:
            action(raw)


DEFAULTS = [
    ("u1", 250, -1, "i8"),
    ("u1", 250, 300, "i8"),
    ("u1", 250, 5, "u1"),
    ("i1", 1, 1000, "i8"),
    ("i4", 1, 2**40, "i8"),
    ("f4", 1, 1e300, "f8"),
    ("f4", 1, 0.1, "f8"),
    ("f8", 1, -1, "f8"),
    ("i8", 5, np.nan, "f8"),
    ("i8", 2**53 + 1, np.nan, "O"),
    ("U2", "ab", "longer", "U6"),
    ("i8", 1, None, "O"),
]


@pytest.mark.parametrize(("dtype", "value", "default", "becomes"), DEFAULTS)
def test_a_default_and_the_values_beside_it_stay_what_they_are(dtype, value, default, becomes):
    with pardata.Table([1], np.array([value], dtype)) as table:
        found = table.get_many([1, 2], default=default)
    assert found.dtype == becomes and found[0] == value
    assert found[1] == default or found[1] != found[1]


def test_numbers_of_other_kinds_are_found_only_if_they_are_equal():
    with pardata.Table([-1, 2049, 16777217], [1, 2, 3]) as table:
        wrong = [np.array([2**64 - 1], kind) for kind in (">u8", "<u8")]
        for keys in (*wrong, np.array([2048], "f2"), np.array([16777216], "f4"), np.array([2049.5], "g")):
            assert table.get_many(keys, default=0).tolist() == [0]
            assert keys[0] not in table
        assert table[np.float64(2049)] == table[np.longdouble(2049)] == 2
        assert table.get_many(np.array([2049], "g")).tolist() == [2]
        with pytest.raises(pardata.ConfigError, match="begins or ends"):
            table.range(np.nan)
        with pytest.raises(TypeError, match="sequence of them"):
            table.get_many("ab")
    with pardata.Table({}) as table:
        assert len(table.range()[0]) == 0
