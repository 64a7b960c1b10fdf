"""TIFF files beside what the conformance suite asks of every format: the places of images, and new files."""

import io
import os
import pickle

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array, new_output
from tests.conformance.data_formats import read_all, values_of

tifffile = pytest.importorskip("tifffile")

VALUES = values_of((4, 3, 16, 16), "u2")
GRAY = {"photometric": "minisblack", "compression": "zlib"}


def sent(image):
    """Return an image's array as a worker opens it."""
    return pickle.loads(pickle.dumps(file_array(image)))


@pytest.mark.parametrize(
    ("values", "options", "page"),
    [
        (VALUES, GRAY, (1, 1, 16, 16)),
        (VALUES, {"imagej": True}, None),  # one description, and all images behind it: they are mapped
        (VALUES, {**GRAY, "tile": (16, 16), "predictor": True}, (1, 1, 16, 16)),
        (VALUES[..., :3].astype("u1"), {"photometric": "rgb", "compression": "zlib"}, (1, 3, 16, 3)),
        (VALUES[0], {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"}, (3, 16, 16)),
        (VALUES[0] > 300, {"photometric": "minisblack"}, (1, 16, 16)),
        (VALUES[0].astype(">f4"), {**GRAY, "byteorder": ">"}, (1, 16, 16)),
        (VALUES[0, 0], GRAY, (16, 16)),
    ],
)
def test_parts_of_a_series_are_those_of_the_library(tmp_path, values, options, page):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, **options)
    series = pardata.open(path)
    array, expected = sent(series), series.asarray()
    assert array.page_shape == page if page else array.page_rows > len(values)
    assert array.dtype == expected.dtype and np.array_equal(array[:], expected)
    for index in (slice(1, 3), (slice(0, 2), slice(1, 2)), (slice(None), slice(1, 9), slice(2, 3))[: values.ndim]):
        assert np.array_equal(array[index], expected[index])


def test_pages_levels_and_series_are_found_again(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(VALUES[0], subifds=1, **GRAY)
        writer.write(VALUES[0, :, ::2, ::2], subfiletype=1, **GRAY)
        writer.write(VALUES[1, 0, :5], metadata={"other": 1}, **GRAY)
    with tifffile.TiffFile(path) as file:
        found = [sent(image) for image in (*file.series[0].levels, file.series[1], file.pages[2])]
        expected = [VALUES[0], VALUES[0, :, ::2, ::2], VALUES[1, 0, :5], VALUES[0, 2]]
        assert all(np.array_equal(one[:], other) for one, other in zip(found, expected, strict=True))
        assert len({one.location for one in found}) == 4
        with pytest.raises(pardata.ConfigError, match="within another one"):
            file_array(file.pages[0].pages[0])
        with pytest.raises(pardata.ConfigError, match="2 series: give one of them"):
            file_array(file)
    with pytest.raises(pardata.ConfigError, match="has 2 arrays, '0', '1'"):
        pardata.open(path)
    assert np.array_equal(read_all(path, "1"), VALUES[1, 0, :5])


def test_images_of_several_files_are_one_series(tmp_path):
    tiffs = "".join(
        f'<TiffData FirstT="{t}" PlaneCount="1"><UUID FileName="{t}.ome.tif">urn:uuid:{t}</UUID></TiffData>'
        for t in (0, 1)
    )
    for t in (0, 1):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{t}">'
            f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="16" SizeY="16" '
            f'SizeZ="1" SizeC="1" SizeT="3"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{tiffs}</Pixels>'
            "</Image></OME>"
        )
        tifffile.imwrite(tmp_path / f"{t}.ome.tif", VALUES[t, 0], description=xml, metadata=None, **GRAY)
    array = sent(pardata.open(tmp_path / "0.ome.tif"))
    assert np.array_equal(array[:], [VALUES[0, 0], VALUES[1, 0], 0 * VALUES[0, 0]])  # the third is in none of them
    before = array.age()
    assert before == sent(array).age()
    os.utime(tmp_path / "1.ome.tif", (0, 0))
    assert array.age() != before  # a checkpoint compares it


def test_a_file_in_memory_goes_to_threads_only(tmp_path):
    made = io.BytesIO()
    tifffile.imwrite(made, VALUES, **GRAY)
    made.seek(0)
    with tifffile.TiffFile(made) as file:
        array = file_array(file.series[0])
        assert np.array_equal(array[1:3], VALUES[1:3])
        with pytest.raises(pardata.ConfigError, match="no file of its own"):
            array.check_sendable()


@pytest.mark.parametrize("dtype", ["u1", "i8", ">f4", "c8", "f2"])
def test_new_files_keep_shape_and_dtype(tmp_path, dtype):
    with pardata.WorkerPool(1, kind="thread") as pool:
        for number, shape in enumerate([(9, 8, 3), (9, 8), (5, 1, 3), (1, 8, 8), (4, 5, 6, 3)]):
            values, path = values_of(shape, dtype), tmp_path / f"{number}.tif"
            made = pool.map_array(lambda block: block, values, out=str(path), axis=len(shape) - 1)
            assert made.shape == shape and np.array_equal(made, values)
            assert pardata.open(path).shape == shape and np.array_equal(read_all(path), values)
            if len(shape) > 2:
                path = tmp_path / f"rows {number}.tiff"
                pardata.source(values).to(str(path)).run(engine="serial")
                assert pardata.open(path).shape == shape and np.array_equal(read_all(path), values)


@pytest.mark.parametrize("dtype", ["u1", ">f4", "c8"])
def test_compressed_files_have_the_librarys_strips(tmp_path, dtype):
    with pardata.WorkerPool(1, kind="thread") as pool:
        for number, shape in enumerate([(9, 8, 3), (2, 700, 300), (1, 8, 8), (3, 5, 6, 2)]):
            values, path = values_of(shape, dtype), tmp_path / f"{number}.tif"
            made = pool.map_array(lambda block: block, values, out=str(path), compression="zlib", chunksize=2)
            assert made.shape == shape and np.array_equal(made.asarray(), values)
            tifffile.imwrite(tmp_path / "other.tif", values[0], **GRAY)
            with tifffile.TiffFile(tmp_path / "other.tif") as other:
                assert made.parent.pages[0].rowsperstrip == other.pages[0].rowsperstrip
            (tmp_path / "other.tif").unlink()
        with pytest.raises(pardata.ConfigError, match="cut along its first axis"):
            pool.map_array(lambda block: block, values, out=str(tmp_path / "a.tif"), compression="zlib", axis=1)
        with pytest.raises(pardata.ConfigError, match="needs two more"):
            pool.map_array(lambda block: block, values[0, 0], out=str(tmp_path / "a.tif"), compression="zlib")
    assert not (tmp_path / "a.tif").exists()


@pytest.mark.parametrize(
    "values", [VALUES > 3, VALUES.astype("S3"), VALUES.astype("g"), VALUES[0, 0, 0], VALUES[:, :0]]
)
def test_what_a_new_file_cannot_hold_is_refused(tmp_path, values):
    with pytest.raises(pardata.ConfigError, match="cannot hold|holds images"):
        pardata.source(values).to(str(tmp_path / "a.tif")).run(engine="serial")
    with (
        pardata.WorkerPool(1, kind="thread") as pool,
        pytest.raises(pardata.ConfigError, match="cannot hold|holds images"),
    ):
        pool.map_array(lambda block: block, values, out=str(tmp_path / "a.tif"))
    assert not list(tmp_path.iterdir())


def test_of_a_part_that_was_cut_nothing_is_left(tmp_path):
    """As by a full disk, of which the first error tells: that of the library, which finds no images, is dropped."""
    new = new_output(tmp_path / "a.tif", compression="zlib")
    images = new.create((0, 8, 8), np.dtype("u1"), (1, 8, 8))
    new.grow(1)
    images[:1] = np.ones((1, 8, 8), "u1")
    os.truncate(new.part, 10)
    new.discard()
    assert not list(tmp_path.iterdir())
