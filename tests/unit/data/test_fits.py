"""FITS files beside what the conformance suite asks of every format: scaling, the places of images, refusals."""

import gzip
import pickle

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array
from tests.conformance.data_formats import read_all, values_of

fits = pytest.importorskip("astropy.io.fits")

VALUES = values_of((6, 5, 4), "i2")


def sent(hdu):
    """Return an image's array as a worker opens it."""
    return pickle.loads(pickle.dumps(file_array(hdu)))


def scaled(bscale, bzero, blank=None, dtype="i2"):
    """Return an image whose values are those in the file times `bscale` plus `bzero`."""
    hdu = fits.ImageHDU(VALUES.astype(dtype))
    hdu.header["BSCALE"], hdu.header["BZERO"] = bscale, bzero
    if blank is not None:
        hdu.header["BLANK"] = blank
    return hdu


@pytest.mark.parametrize(
    "make",
    [
        lambda: fits.ImageHDU(VALUES),
        lambda: fits.ImageHDU(VALUES.astype("u2")),  # by BZERO
        lambda: fits.ImageHDU(VALUES.astype("u8")),
        lambda: fits.ImageHDU(VALUES.astype("i1")),
        lambda: scaled(0.5, 10),
        lambda: scaled(0.5, 10, 7),
        lambda: scaled(1, 0, 7),
        lambda: scaled(0.1, 0, dtype="i4"),
        lambda: fits.CompImageHDU(VALUES, tile_shape=(4, 5, 4)),
        lambda: fits.CompImageHDU(VALUES.astype("u2")),
    ],
)
@pytest.mark.parametrize("options", [{}, {"do_not_scale_image_data": True}, {"uint": False}, {"memmap": False}])
def test_parts_of_an_image_are_those_of_the_library(tmp_path, make, options):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), make()]).writeto(path)
    with fits.open(path, **options) as file:
        array, expected = sent(file[1]), file[1].data
        assert array.dtype == expected.dtype and np.array_equal(array[:], expected, equal_nan=True)
        for index in (slice(1, 3), (slice(0, 2), slice(1, 2)), (slice(None), slice(1, 9), slice(2, 3))):
            assert np.array_equal(array[index], expected[index], equal_nan=True)


def test_images_are_found_by_name_and_number(tmp_path):
    path = tmp_path / "a.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("x", "J", array=[1, 2])], name="T")
    images = [fits.ImageHDU(VALUES, name="SCI"), fits.ImageHDU(VALUES + 1, name="ERR"), fits.ImageHDU(VALUES + 2)]
    fits.HDUList([fits.PrimaryHDU(), *images, table]).writeto(path)
    assert np.array_equal(read_all(path, "ERR"), VALUES + 1) and np.array_equal(read_all(path, "3"), VALUES + 2)
    with pytest.raises(pardata.ConfigError, match="has 3 arrays, '1', '2', '3'"):
        pardata.open(path)
    with pytest.raises(pardata.ConfigError, match="has no array 'T'; it has '1', '2', '3'"):
        pardata.open(path, key="T")
    with fits.open(path) as file:
        for found, message in ((file, "give one of them"), (file[4], "is a table"), (file[0], "has no data")):
            with pytest.raises(pardata.ConfigError, match=message):
                file_array(found)


def test_what_is_not_as_in_a_file_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    with pytest.raises(pardata.ConfigError, match="is in memory"):
        file_array(fits.PrimaryHDU(VALUES))
    fits.PrimaryHDU(VALUES).writeto(path)
    with fits.open(path, mode="update") as file, pytest.raises(pardata.ConfigError, match="open for writing"):
        file_array(file[0])
    with fits.open(path) as file:
        file[0].data = VALUES + 1
        with pytest.raises(pardata.ConfigError, match="is in memory"):
            file_array(file[0])


def test_a_compressed_file_is_read_whole(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(VALUES).writeto(path)
    packed = tmp_path / "a.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    hdu = pardata.open(packed)
    assert file_array(hdu).page_shape == VALUES.shape and np.array_equal(sent(hdu)[2:4], VALUES[2:4])
