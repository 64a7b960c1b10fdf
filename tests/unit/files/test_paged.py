"""Paged files: reading returns the written records, or raises an error that names file and page."""

import os
import pickle
import resource
import signal

import numpy as np
import pytest

import pardata
from pardata.files import layout, open_file
from pardata.files.checksums import crc32c_by_numpy

PagedFile = pardata.PagedFile
RNG = np.random.default_rng(0)


try:
    import zarr
except ImportError:  # it has no wheel for the newest Python yet
    zarr = None
needs_zarr = pytest.mark.skipif(zarr is None, reason="zarr is not installed")


@pytest.fixture(autouse=True, scope="module")
def the_thread_of_zarr():
    """It is started once, and its sockets stay."""
    if zarr is not None:
        zarr.zeros(1)[:]


def write(path, records, **options):
    if isinstance(records, np.ndarray):
        options = {"dtype": records.dtype, "item_shape": records.shape[1:]} | options
    with PagedFile.create(path, **options) as writer:
        writer.extend(records)
    return PagedFile(path)


ARRAYS = {
    "numbers": RNG.random(1000),
    "frames": RNG.integers(0, 255, (50, 20, 30), "u1"),
    "big endian": RNG.random((100, 3)).astype(">f4"),
    "bool": RNG.random(100) < 0.5,
    "complex": RNG.random(100) * 1j,
    "half": RNG.random(100).astype("f2"),
    "records": np.array([(i, i / 2, b"x" * (i % 5)) for i in range(100)], [("a", "<i4"), ("b", "<f8"), ("c", "S5")]),
    "times": np.arange(100).astype("M8[ms]"),
    "text": np.array([f"t{i}" for i in range(100)]),
    "one": RNG.random((1, 5)),
    "none": RNG.random((0, 5)),
    "wide": RNG.integers(0, 255, (20, 70_000), "u1"),
}


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("name", ARRAYS)
def test_an_array(tmp_path, name, compression):
    array = ARRAYS[name]
    with write(tmp_path / "a", array, page_bytes=256, compression=compression) as file:
        little = array.astype(array.dtype.newbyteorder("<"))
        assert file.shape == array.shape and file.dtype == little.dtype and len(file) == len(array)
        assert np.array_equal(file[:], array)
        assert [page.end - page.begin for page in file.pages()] == [len(page.open()) for page in file.pages()]
        assert np.array_equal(np.array(list(file), little.dtype).reshape(array.shape), array)
        for part in (slice(3, 17), slice(1, None, 3), slice(None, None, -1), slice(40, 20), slice(20, 5, -4)):
            assert np.array_equal(file[part], array[part])
        for index in (0, -1, len(array) // 2) if len(array) else ():
            assert np.array_equal(file[index], array[index])
        if len(array) and not file.page(0).dtype.hasobject:
            assert not file.page(0).flags.writeable


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("kind", ["bytes", "objects"])
def test_records_of_any_size(tmp_path, kind, compression):
    records = [RNG.bytes(int(size)) for size in RNG.integers(0, 200, 500)] + [b"", RNG.bytes(5000), b""]
    if kind == "objects":
        records = [{"name": f"r{i}", "data": record, "parts": [i, None]} for i, record in enumerate(records)]
    with write(tmp_path / "a", records, kind=kind, page_bytes=1000, compression=compression) as file:
        assert len(file) == len(records) and file.page_count > 20
        assert list(file) == records and file[:] == records
        assert file[37:301] == records[37:301] and file[400:10:-7] == records[400:10:-7]
        assert [file[i] for i in (0, 250, -1)] == [records[i] for i in (0, 250, -1)]
        assert [record for page in file.pages() for record in page.open()] == records
        assert not hasattr(file, "page_rows") and not hasattr(file, "shape")
        for index in (len(records), -len(records) - 1):
            with pytest.raises(IndexError):
                file[index]
        with pytest.raises(IndexError):
            file.page(-1)


@needs_zarr
@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("name", ["numbers", "frames", "big endian", "bool", "complex", "half", "one", "none"])
def test_zarr_reads_the_arrays(tmp_path, name, compression):
    array = ARRAYS[name]
    with write(tmp_path / "a", array, page_bytes=256, compression=compression) as file:
        file.link_as_zarr(tmp_path / "a.zarr")
        with pytest.raises(pardata.ConfigError, match="cannot be made"):
            file.link_as_zarr(tmp_path / "a.zarr")
    read = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert read.shape == array.shape and read.dtype == array.dtype.newbyteorder("<")
    assert np.array_equal(read[...], array)
    if len(array) > 1:
        assert np.array_equal(read[7:29], array[7:29])


@needs_zarr
def test_zarr_keeps_what_it_was_linked_to_and_refuses_a_flipped_byte(tmp_path):
    array = RNG.random(1000)
    with write(tmp_path / "a", array, page_bytes=256) as file:
        file.link_as_zarr(tmp_path / "a.zarr")
        offset = file._file().place(3)[0]
    write(tmp_path / "a", array * 2).close()
    read = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert np.array_equal(read[:], array)
    flip(tmp_path / "a.zarr" / "c" / "0", offset + 10)
    with pytest.raises(ValueError, match="checksum"):
        read[:]


def test_only_arrays_of_numbers_are_zarr(tmp_path):
    for name in ("records", "text"):
        with write(tmp_path / name, ARRAYS[name]) as file, pytest.raises(pardata.ConfigError, match="Zarr"):
            file.link_as_zarr(tmp_path / "z")
    with write(tmp_path / "b", [b"a"], kind="bytes") as file, pytest.raises(pardata.ConfigError, match="Zarr"):
        file.link_as_zarr(tmp_path / "z")
    assert not (tmp_path / "z").exists()


def test_read_into(tmp_path):
    array = RNG.random((100, 7))
    with write(tmp_path / "a", array, page_bytes=600) as file:
        for begin, count in [(0, 100), (3, 60), (10, 10), (99, 1), (50, 0)]:
            out = np.zeros((count, 7))
            file.read_into(out, begin)
            assert np.array_equal(out, array[begin : begin + count])
        for out, begin in [
            (np.zeros((5, 6)), 0),
            (np.zeros((5, 7), "f4"), 0),
            (np.zeros((5, 7)), 96),
            (np.zeros((5, 7)), -1),
            (np.zeros((7, 5)).T, 0),
            (np.broadcast_to(0.0, (5, 7)), 0),
            (np.ma.masked_array(np.zeros((5, 7)), True), 0),
        ]:
            with pytest.raises(pardata.ConfigError):
                file.read_into(out, begin)


@pytest.mark.parametrize("kind", ["array", "bytes", "objects"])
def test_append_writes_a_new_file_behind_the_old_pages(tmp_path, kind):
    records = RNG.random((130, 2)) if kind == "array" else [b"%d" % i for i in range(130)]
    file = write(tmp_path / "a", records[:70], kind=kind, page_bytes=160)
    old = pickle.dumps(file)
    with file.append() as writer:
        writer.extend(records[70:100])
        writer.append(records[100])
        writer.extend(records[101:])
    assert len(file) == 70  # who has it open goes on with the old one
    with pytest.raises(pardata.BrokenError, match="replaced since"):
        len(pickle.loads(old))
    file.close()
    with PagedFile(tmp_path / "a") as file:
        assert len(file) == 130
        assert np.array_equal(file[:], records) if kind == "array" else file[:] == records
        if kind == "array":
            assert {page.end - page.begin for page in file.pages()} == {10}


def test_who_appends_keeps_what_others_have_appended_meanwhile(tmp_path):
    path = tmp_path / "a"
    first, second = write(path, np.arange(3)), PagedFile(path)
    for file, number in ((first, 10), (first, 20), (second, 30)):
        with file.append() as writer:
            writer.extend([number])
    with PagedFile(path) as file:
        assert file[:].tolist() == [0, 1, 2, 10, 20, 30]
    write(path, np.zeros((3, 2))).close()
    with pytest.raises(pardata.BrokenError, match="other records"):
        first.append()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    first.close(), second.close()


def test_a_handle_of_a_replaced_file_is_not_linked(tmp_path):
    file = write(tmp_path / "a", np.arange(3.0))
    write(tmp_path / "a", np.arange(3)).close()
    with file, pytest.raises(pardata.BrokenError, match="replaced"):
        file.link_as_zarr(tmp_path / "z")
    assert not (tmp_path / "z").exists()


def test_a_file_keeps_its_rights_and_a_link_leads_to_it_still(tmp_path):
    write(tmp_path / "a", np.arange(3)).close()
    (tmp_path / "a").chmod(0o600)
    (tmp_path / "link").symlink_to("a")
    write(tmp_path / "link", np.arange(4)).close()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with PagedFile(tmp_path / "a") as file:
        assert len(file) == 4


def test_what_no_system_reads_at_once_is_refused(tmp_path, monkeypatch):
    with pytest.raises(pardata.ConfigError, match="row of 2147483648 bytes is too large"):
        PagedFile.create(tmp_path / "a", dtype="u1", item_shape=(1 << 31,))
    monkeypatch.setattr(layout, "MOST_PAGE_BYTES", 1000)
    with pytest.raises(pardata.ConfigError, match="too large"), PagedFile.create(tmp_path / "a", kind="bytes") as rows:
        rows.append(bytes(1000))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_a_part_each_time_is_an_error(tmp_path, monkeypatch):
    writer = PagedFile.create(tmp_path / "a")
    monkeypatch.setattr(os, "writev", lambda fd, buffers: os.write(fd, b"part"))
    with pytest.raises(OSError, match="in part, twice"), writer:
        writer.extend(np.zeros(200_000))
    assert list(tmp_path.iterdir()) == []


class OfThisModule:
    pass


def test_a_record_that_cannot_be_unpickled_is_no_damage(tmp_path, monkeypatch):
    with write(tmp_path / "a", [1, OfThisModule()], kind="objects") as file:
        assert isinstance(file[1], OfThisModule)
        monkeypatch.delitem(globals(), "OfThisModule")
        with pytest.raises(pardata.SerializationError, match="page 0, its record 1 cannot be unpickled here: Attr"):
            file.page(0)


def test_only_whole_numbers_and_slices_ask_for_records(tmp_path):
    with write(tmp_path / "a", np.arange(3)) as file:
        for index in (1.0, "a", None, [1, 2], (slice(None), 0), np.array([1, 2])):
            with pytest.raises(TypeError, match="int or a slice"):
                file[index]
        assert file[np.int8(1)] == 1
        with pytest.raises(pardata.ConfigError, match="must be an array"):
            file.read_into([0])
    assert "closed" in repr(file)


@pytest.mark.parametrize("kind", ["array", "objects"])
def test_slices_in_steps_read_only_the_pages_that_they_need(tmp_path, kind, monkeypatch):
    options = {"dtype": int} if kind == "array" else {"kind": kind}
    with pardata.PagedFile.create(tmp_path / "a", page_bytes=80, **options) as writer:
        writer.extend(np.arange(1005) if kind == "array" else range(1005))
    with pardata.PagedFile(tmp_path / "a") as file:
        numbers, read = list(range(1005)), []
        for part in [slice(None, None, 7), slice(None, None, -1), slice(1003, 3, -250), slice(3, 3, 2), slice(9, 2, 3),
                     slice(-1, None, 5), slice(None, 2, -400), slice(0, 10**9, 1000)]:  # fmt: skip
            found = file[part]
            assert list(found) == numbers[part]
            assert kind == "objects" or found.dtype == int
        page = file.page
        monkeypatch.setattr(file, "page", lambda number: read.append(number) or page(number))
        assert list(file[5::500]) == [5, 505]
        assert len(read) == 2
        assert list(file[995::-990]) == [995, 5] and len(read) == 4


@pytest.mark.parametrize("kind", ["array", "objects"])
def test_slices_in_steps_take_slices_of_the_pages(tmp_path, kind, monkeypatch):
    options = {"dtype": int} if kind == "array" else {"kind": kind}
    with pardata.PagedFile.create(tmp_path / "a", page_bytes=80, **options) as writer:
        writer.extend(np.arange(100) if kind == "array" else range(100))
    with pardata.PagedFile(tmp_path / "a") as file:
        page, asked = file.page, []

        class Seen:
            def __init__(self, number):
                self.records = page(number)

            def __getitem__(self, index):
                asked.append(type(index))
                return self.records[index]

        monkeypatch.setattr(file, "page", Seen)
        for part in (slice(1, 40, 3), slice(90, None, -2), slice(50, 52, 2)):
            assert list(file[part]) == list(range(100))[part]
        assert set(asked) == {slice}


# -- damage ------------------------------------------------------------------------------------------------------------


def flip(path, offset):
    with open(path, "r+b") as raw:
        raw.seek(offset)
        byte = raw.read(1)[0]
        raw.seek(offset)
        raw.write(bytes([byte ^ 0x10]))


def touched(path, array):
    """The outcome of reading all of a file that may be damaged: "equal", or the error."""
    try:
        with PagedFile(path) as file:
            whole = file[:]
            parts = [file.page(number) for number in range(file.page_count)]
    except (pardata.ConfigError, pardata.ChecksumError) as error:
        assert str(path) in str(error)
        return error
    assert np.array_equal(whole, array) and np.array_equal(np.concatenate(parts), array), "wrong data"
    return "equal"


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_every_flipped_byte_is_found(tmp_path, compression):
    array = RNG.random((24, 3))
    path = tmp_path / "a"
    with write(path, array, page_bytes=192, compression=compression) as file:
        places = [file._file().place(number) for number in range(file.page_count)]
    good = path.read_bytes()
    for offset in range(len(good)):
        path.write_bytes(good)
        flip(path, offset)
        found = touched(path, array)
        page = [number for number, (begin, size) in enumerate(places) if begin <= offset < begin + size]
        if page:
            assert isinstance(found, pardata.ChecksumError) and f"page {page[0]} " in str(found)
        elif isinstance(found, str):
            assert good[offset] == 0 and offset >= 64, "a byte that matters"  # between the pages


def test_every_truncation_is_found(tmp_path):
    array = RNG.random((24, 3))
    path = tmp_path / "a"
    write(path, array, page_bytes=192).close()
    good = path.read_bytes()
    for size in range(0, len(good), 7):
        path.write_bytes(good[:size])
        assert isinstance(touched(path, array), pardata.ChecksumError | pardata.ConfigError)
    path.write_bytes(good[: len(good) - 1])
    with pytest.raises(pardata.ChecksumError, match=f"cut off: {len(good) - 1} of {len(good)}"):
        PagedFile(path)


@pytest.mark.parametrize("settled_ns", [-(10**12), 10**12])
def test_damage_behind_an_open_file_is_found_also_in_pages_that_were_read_before(tmp_path, monkeypatch, settled_ns):
    """Both if pages count as verified, and if the file is too new for that."""
    monkeypatch.setattr("pardata.files.open_file._SETTLED_NS", settled_ns)
    array = RNG.random((24, 3))
    path = tmp_path / "a"
    with write(path, array, page_bytes=192) as file:
        for _ in range(2):
            assert np.array_equal(np.concatenate([file.page(number) for number in range(3)]), array)
        assert any(file._file().seen[1]) == (settled_ns < 0)
        offset, _ = file._file().place(1)
        before = os.stat(path)
        flip(path, offset + 5)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(pardata.ChecksumError, match="page 1 is damaged"):
            file.page(1)
        assert np.array_equal(file.page(0), array[:8])
        for read in (lambda: file[3:20], lambda: list(file), lambda: file.read_into(np.empty((24, 3)))):
            with pytest.raises(pardata.ChecksumError, match="page 1"):
                read()
        os.truncate(path, offset + 20)
        with pytest.raises(pardata.ChecksumError, match="page 1 is cut off: 20 of"):
            file.page(1)
        with pytest.raises(pardata.ChecksumError, match="page 1"):
            file[:]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", "not a paged file"), (b"\x93NUMPY" + bytes(200), "not a paged file")],
)
def test_missing_and_foreign_files_are_named(tmp_path, content, message):
    path = tmp_path / "a"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(pardata.ConfigError, match=message) as caught:
        PagedFile(path)
    assert str(path) in str(caught.value)
    with pytest.raises(pardata.ConfigError, match="directory"):
        PagedFile(tmp_path)


def test_checked_by_numpy_where_the_package_is_not_installed(tmp_path, monkeypatch):
    array = RNG.random((24, 3))
    write(tmp_path / "fast", array).close()
    for module in (layout, open_file):
        monkeypatch.setattr(module, "crc32c", crc32c_by_numpy)
    write(tmp_path / "a", array).close()
    monkeypatch.undo()
    assert touched(tmp_path / "a", array) == "equal"
    for module in (layout, open_file):
        monkeypatch.setattr(module, "crc32c", crc32c_by_numpy)
    assert touched(tmp_path / "fast", array) == "equal"


# -- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pictures"}, "kind must be"),
        ({"page_bytes": 0}, "page_bytes must be"),
        ({"compression": "lz4"}, "compression must be"),
        ({"dtype": object}, "Python objects"),
        ({"item_shape": (0,)}, "no bytes"),
        ({"item_shape": (-1,)}, "at least 0"),
        ({"item_shape": 3}, "shape 3"),
        ({"item_shape": (1.5,)}, "cannot be kept"),
        ({"dtype": "nonsense"}, "'nonsense' cannot be kept"),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(pardata.ConfigError, match=message):
        PagedFile.create(tmp_path / "a", **options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_told_of_wrong_records(tmp_path):
    with PagedFile.create(tmp_path / "a", item_shape=(2,)) as writer:
        with pytest.raises(pardata.ConfigError, match="rows are expected"):
            writer.extend([[1, 2], [3]])
        for wrong in (5, (0, 1, 2, 3)):
            with pytest.raises(pardata.ConfigError, match="an entry that write_page has returned"):
                writer.add(wrong)
    for kind in ("bytes", "objects"):
        with PagedFile.create(tmp_path / "a", kind=kind) as writer:
            for wrong in (5, "abc"):
                for write_to in (writer.extend, lambda records, pages=writer.pages: pages.write_page(0, records)):
                    with pytest.raises(pardata.ConfigError, match=f"a sequence of {kind} is expected"):
                        write_to(wrong)


def test_rows_that_do_not_fit_leave_the_old_file(tmp_path):
    array = RNG.random((24, 3))
    path = tmp_path / "a"
    write(path, array).close()
    for wrong, message in [
        (RNG.random((2, 4)), "of shape"),
        (RNG.random((2, 3)) * 1j, "complex128 does not fit"),
        (np.float64(3), "of shape"),
        (np.zeros(3), "append"),
        (iter([array]), "not one by one"),
        (np.ma.array(array, mask=array > 0.5), "masked"),
        (np.full((1, 3), 2**53 + 1), "9007199254740993.* does not fit float64"),
    ]:
        with (
            pytest.raises(pardata.ConfigError, match=message),
            PagedFile.create(path, item_shape=(3,)) as writer,
        ):
            writer.extend(array)
            writer.extend(wrong)
        assert touched(path, array) == "equal"
    with pytest.raises(pardata.ConfigError, match="are bytes"), PagedFile.create(path, kind="bytes") as writer:
        writer.append("text")
    with pytest.raises(pardata.ClosedError):
        writer.append(b"")
    with pytest.raises(ZeroDivisionError), PagedFile.create(path) as writer:
        writer.extend(np.zeros(3))
        1 / 0  # noqa: B018 - an error of the user's
    assert touched(path, array) == "equal"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


CASTS = [
    ("i4", [2**31], False),
    ("i4", [-(2**31)], True),
    ("u1", [255, 0], True),
    ("u1", [-1], False),
    ("u8", [-1], False),
    ("i8", np.array([2**64 - 1], "u8"), False),
    ("f8", [2**53], True),
    ("f4", [1e300], False),
    ("f4", [0.1, np.inf, np.nan], True),
    ("U3", ["abc"], True),
    ("U3", ["abcd"], False),
    ("S3", [b"abcd"], False),
    ("M8[D]", np.array(["2020-01-01T00:01", "NaT"], "M8[m]"), False),
    ("M8[D]", np.array(["2020-01-01T00:00", "NaT"], "M8[m]"), True),
    ("i8", [1.5], False),
    ("i8", [], True),
]


@pytest.mark.parametrize(("dtype", "values", "fits"), CASTS)
def test_no_value_becomes_another_one_on_its_way_into_a_file(tmp_path, dtype, values, fits):
    if fits:
        with write(tmp_path / "a", values, dtype=dtype) as file:
            assert np.array_equal(file[:], np.array(values, dtype), equal_nan=dtype[0] in "fM")
        return
    with PagedFile.create(tmp_path / "a", dtype=dtype) as writer:
        for put in (writer.extend, lambda rows: writer.pages.write_page(0, rows)):
            with pytest.raises(pardata.ConfigError, match="does not fit"):
                put(values)


def test_a_buffer_may_be_used_again_after_extend(tmp_path):
    buffer, record = np.zeros(3), {"x": 0}
    with PagedFile.create(tmp_path / "a") as rows, PagedFile.create(tmp_path / "b", kind="objects") as objects:
        for number in range(4):
            buffer[:] = record["x"] = number
            rows.extend(buffer)
            objects.append(record)
    with PagedFile(tmp_path / "a") as file, PagedFile(tmp_path / "b") as other:
        assert file[:].tolist() == np.repeat(np.arange(4.0), 3).tolist()
        assert other[:] == [{"x": number} for number in range(4)]


def test_pages_may_be_written_in_any_order_and_more_than_once(tmp_path):
    array = RNG.random((28, 3))
    with PagedFile.create(tmp_path / "a", item_shape=(3,), page_bytes=192) as writer:
        for number in (3, 1, 0, 2, 1):
            writer.add(writer.pages.write_page(number, array[8 * number : 8 * number + 8]))
    assert touched(tmp_path / "a", array) == "equal"
    for numbers, message in [((0, 2), "page 1 of .* is missing"), ((3, 0, 1, 2, 4), "page 3 of .* has not 8 rows")]:
        with (
            pytest.raises(pardata.ConfigError, match=message),
            PagedFile.create(tmp_path / "a", item_shape=(3,), page_bytes=192) as writer,
        ):
            for number in numbers:
                begin = 8 * number if number < 4 else 0
                writer.add(writer.pages.write_page(number, array[begin : begin + 8]))
    with PagedFile.create(tmp_path / "b", item_shape=(3,), page_bytes=192) as writer:
        with pytest.raises(pardata.ConfigError, match="1 to 8 rows"):
            writer.pages.write_page(0, array)
        pages = pickle.loads(pickle.dumps(writer.pages))
    with pytest.raises(pardata.ConfigError, match="its writer is gone"):
        pages.write_page(0, array[:8])
    assert touched(tmp_path / "a", array) == "equal"


def test_a_second_writer_is_refused(tmp_path):
    with PagedFile.create(tmp_path / "a"):
        with pytest.raises(pardata.ConfigError, match=f"being written by process {os.getpid()}"):
            PagedFile.create(tmp_path / "a")
        PagedFile.create(tmp_path / "b").abort()
    writer = PagedFile.create(tmp_path / "a")
    del writer  # nobody holds it any more
    PagedFile.create(tmp_path / "a").abort()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    array = RNG.random((1000, 3))
    path = tmp_path / "a"
    write(path, array).close()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for limit in (100, 5000, 23_000, 24_100):  # in a page, in the index
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with pytest.raises(OSError, match="too large"):
                write(path, array * 2, page_bytes=8192)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert touched(path, array) == "equal"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_closed(tmp_path):
    file = write(tmp_path / "a", RNG.random(3))
    assert "3 rows" in repr(file)
    file.close()
    with pytest.raises(pardata.ClosedError):
        file[0]
    assert str(tmp_path) in repr(file)
