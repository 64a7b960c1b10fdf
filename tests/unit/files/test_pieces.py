"""Pieces: together they are the whole, in order; and their pickles are small."""

import json
import os
import pickle
import resource
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pardata
from pardata.files import read_pieces, split, write_pieces
from pardata.files import sources as files_sources
from pardata.files.pieces import _bounds

ROWS = np.random.default_rng(0).random((103, 5))


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(1, 70))
def test_bounds(count, pieces, align):
    bounds = _bounds(count, pieces, align)
    assert bounds[-1] == count and len(bounds) - 1 <= pieces
    assert bounds == sorted(set(bounds)) and (count == 0 or bounds[0] == 0)
    assert all(cut % align == 0 for cut in bounds[:-1])
    sizes = np.diff(bounds)[:-1]
    assert not len(sizes) or sizes.max() - sizes.min() <= align


def sources(folder):
    """Everything that has these rows, and whether its pieces may be pickled by anybody."""
    np.save(folder / "rows.npy", ROWS)
    ROWS.tofile(folder / "rows.raw")
    mapped = np.memmap(folder / "rows.raw", float, "r", shape=ROWS.shape)
    deep = np.memmap(folder / "rows.raw", float, "r", offset=40, shape=(102, 5))
    with pardata.PagedFile.create(folder / "rows.pages", item_shape=(5,), page_bytes=400) as writer:
        writer.extend(ROWS)
    return {
        "array": (ROWS, ROWS),
        "strided": (ROWS[::2], ROWS[::2]),
        "list": (ROWS.tolist(), ROWS.tolist()),
        "memmap": (mapped, ROWS),
        "part of a memmap": (mapped[7:90], ROWS[7:90]),
        "memmap behind an offset": (deep[3:], ROWS[4:]),
        "npy": (folder / "rows.npy", ROWS),
        "pages": (pardata.PagedFile(folder / "rows.pages"), ROWS),
        "shared": (pardata.array(ROWS), ROWS),
        "none": (ROWS[:0], ROWS[:0]),
    }


@pytest.mark.parametrize("align", [1, 4])
def test_pieces_are_the_whole(tmp_path, align):
    for name, (obj, rows) in sources(tmp_path).items():
        pieces = made = split(obj, 8, align=align)
        if name != "shared":  # its address goes through pardata's channels
            pickled = [pickle.dumps(piece) for piece in pieces]
            assert max(map(len, pickled), default=0) < 600, name
            pieces = [pickle.loads(piece) for piece in pickled]
        assert len(pieces) <= 8 and sum(map(len, pieces)) == len(rows), name
        parts = [piece.open() for piece in pieces]
        assert [row for part in parts for row in np.asarray(part).tolist()] == np.asarray(rows).tolist(), name
        step = 10 if name == "pages" else 1
        assert all(piece.begin % align == 0 and piece.begin % step == 0 for piece in pieces), name
        del made  # until here it has kept what was copied
        if isinstance(obj, pardata.PagedFile):
            obj.close()


def test_lines_that_are_no_text_are_named(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\n\xff\n")
    good, bad = split(tmp_path / "a.txt", 2, by="lines")
    assert good.open() == ["a\n"]
    with pytest.raises(UnicodeDecodeError) as caught:
        bad.open()
    assert caught.value.__notes__ == [f"{tmp_path}/a.txt, in its bytes 2 to 4, is no text in UTF-8"]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab\n\r é\u2028", max_size=200), st.integers(1, 12))
def test_lines_are_cut_at_line_ends(tmp_path_factory, text, count):
    path = tmp_path_factory.mktemp("lines") / "text"
    path.write_bytes(text.encode())
    with open(path, encoding="utf-8", newline="\n") as file:
        lines = list(file)
    pieces = split(path, count, by="lines")
    assert [line for piece in pieces for line in piece.open()] == lines
    assert len(pieces) <= count
    assert b"".join(piece.open() for piece in split(path, count, by="bytes", align=3)) == text.encode()


def test_bytes_and_a_long_line(tmp_path):
    data = os.urandom(1000)
    assert b"".join(pickle.loads(pickle.dumps(piece)).open() for piece in split(data, 7, by="bytes")) == data
    (tmp_path / "a").write_bytes(b"x" * 200_000 + b"\nshort\n" + b"y" * 100_000)
    pieces = split(tmp_path / "a", 10, by="lines")
    assert [line for piece in pieces for line in piece.open()] == ["x" * 200_000 + "\n", "short\n", "y" * 100_000]


def test_the_default_is_some_pieces_per_core():
    assert len(split(np.zeros(1000))) % 4 == 0


@pytest.mark.parametrize(
    ("obj", "options", "message"),
    [
        (ROWS, {"pieces": 0}, "pieces must be"),
        (ROWS, {"align": 0}, "align must be"),
        (ROWS, {"by": "columns"}, "by must be"),
        (ROWS, {"by": "lines"}, "needs the path"),
        (7, {}, "not int"),
        (np.array([None]), {}, "no rows that could be shared"),
        (np.float64(3), {}, "not float64"),
        ("/nothing/there", {"by": "bytes"}, "cannot be split"),
        ("/nothing/there.npy", {}, "cannot be split"),
        ("/nothing/there", {}, "No such file"),
        (__file__, {}, "no .npy file"),
        (b"abc", {}, 'say by="bytes"'),
        (np.ma.array([1, 2], mask=[True, False]), {}, "masked"),
        (__file__, {"by": "lines", "align": 2}, "leave out align="),
    ],
)
def test_bad_arguments(obj, options, message):
    with pytest.raises(pardata.ConfigError, match=message):
        split(obj, **options)


def test_a_file_that_was_changed_since_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, ROWS)
    rows, data = split(path, 2), split(path, 2, by="bytes")
    np.save(path, ROWS * 2)
    for piece in (*rows, *data):
        with pytest.raises(pardata.BrokenError, match="changed since") as caught:
            piece.open()
        assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(pardata.BrokenError, match="any more"):
        rows[0].open()


def test_a_file_that_is_changed_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    (piece,) = split(path, 1, by="bytes")
    checked = []

    def check(file, stamp, check=files_sources._check_stamp):
        check(file, stamp)
        if not checked:
            path.write_bytes(b"newer")
        checked.append(stamp)

    monkeypatch.setattr(files_sources, "_check_stamp", check)
    with pytest.raises(pardata.BrokenError, match="changed since"):
        piece.open()
    assert len(checked) == 1


def test_what_was_changed_in_a_private_memmap_goes_to_the_workers(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    array = np.load(tmp_path / "a.npy", mmap_mode="c")
    array[0] = 7
    made = split(array, 2)
    assert np.array_equal(whole(pickle.loads(pickle.dumps(made))), array)


def test_pieces_of_what_its_maker_has_let_go():
    pickled = pickle.dumps(split(ROWS, 2)[0])
    with pytest.raises(pardata.BrokenError, match="let it go"):
        pickle.loads(pickled).open()


# -- in a directory ----------------------------------------------------------------------------------------------------


def whole(pieces):
    return np.concatenate([piece.open() for piece in pieces])


def test_written_and_read_again(tmp_path):
    for obj in (ROWS, ROWS.tolist(), split(ROWS, 5), write_pieces(ROWS, tmp_path / "earlier", 5)):
        written = write_pieces(obj, tmp_path / "set", 5)
        again = read_pieces(tmp_path / "set")
        assert again == written and [piece.begin for piece in again] == [0, 20, 41, 61, 82]
        assert np.array_equal(whole(again), ROWS) and sum(map(len, again)) == 103
        assert len(pickle.dumps(again[0])) < 400
        assert len(list((tmp_path / "set").iterdir())) == 6  # those of earlier sets are gone
    data = b"".join(piece.open() for piece in write_pieces(b"some bytes", tmp_path / "other", 3, by="bytes"))
    assert data == b"some bytes"
    assert write_pieces(ROWS[:0], tmp_path / "set") == read_pieces(tmp_path / "set") == []


def test_a_piece_is_read_when_it_is_opened_and_not_before(tmp_path):
    pieces = write_pieces(ROWS, tmp_path, 5)
    os.unlink(pieces[1].path)
    with open(pieces[2].path, "r+b") as file:
        file.truncate(200)
    with open(pieces[3].path, "r+b") as file:
        file.seek(150)
        file.write(b"!")
    pieces = read_pieces(tmp_path)
    assert np.array_equal(pieces[0].open(), ROWS[:20])
    for piece in pieces[1:4]:
        with pytest.raises(pardata.ChecksumError) as caught:
            piece.open()
        assert piece.path in str(caught.value)


def test_damaged_missing_and_foreign(tmp_path):
    with pytest.raises(pardata.ConfigError, match="there are no pieces"):
        read_pieces(tmp_path)
    for name in ("camera-left.npy", "subj01-run1.npy", "000001-result.pickle", "mine.txt"):
        (tmp_path / name).write_text("not to be touched")
        with pytest.raises(pardata.ConfigError, match=f"{name}'"):
            write_pieces(ROWS, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        if name != "mine.txt":
            (tmp_path / name).unlink()
    with pytest.raises(pardata.ConfigError, match="cannot be made"):
        write_pieces(ROWS, tmp_path / "mine.txt")
    write_pieces(ROWS, tmp_path / "set", 3)
    manifest = tmp_path / "set" / "manifest.json"
    good = manifest.read_bytes()
    for offset in range(0, len(good), 5):
        manifest.write_bytes(good[:offset] + bytes([good[offset] ^ 1]) + good[offset + 1 :])
        with pytest.raises(pardata.ChecksumError, match=r"manifest\.json is damaged"):
            read_pieces(tmp_path / "set")
    manifest.write_text(json.dumps(None))
    with pytest.raises(pardata.ChecksumError):
        read_pieces(tmp_path / "set")


@pytest.mark.parametrize("limit", [100, 1000])
def test_a_full_disk_leaves_the_old_set(tmp_path, limit):
    write_pieces(ROWS, tmp_path, 5)
    before = sorted(path.name for path in tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        # Shared memory is a file to the system as well: with the smaller limits that is what is refused first.
        with pytest.raises((OSError, pardata.CapacityError), match="too large|`ulimit -f`"):
            write_pieces(ROWS[:30], tmp_path, 30)  # small pieces, a large manifest
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert np.array_equal(whole(read_pieces(tmp_path)), ROWS)
