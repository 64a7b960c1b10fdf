"""DICOM beside what the conformance suite asks of every format: the order of slices, their scales, refusals."""

import io
import pickle

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array
from tests.conformance.data_formats import save_dicom, values_of

pydicom = pytest.importorskip("pydicom")
data = pytest.importorskip("pydicom.data")

VALUES = values_of((4, 6, 5), "u2")


def saved(folder, order, **tags):
    """Make a folder of images, named in this order; tags that are lists have one value for each image."""
    folder.mkdir(exist_ok=True)
    for name, number in enumerate(order):
        own = {tag: value[number] if isinstance(value, list) else value for tag, value in tags.items()}
        save_dicom(folder / f"{len(list(folder.iterdir()))}{name}.ima", VALUES[number], number, **own)
    return folder


def test_slices_are_in_the_order_of_their_places_and_have_scales_of_their_own(tmp_path, monkeypatch):
    slopes = [0.5, 2, 4, 8]
    saved(tmp_path / "pet", (2, 0, 3, 1), RescaleSlope=slopes, RescaleIntercept=-3, InstanceNumber=[4, 3, 2, 1])
    (tmp_path / "pet" / "notes.txt").write_text("nothing")
    (tmp_path / "pet" / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    array = pardata.open("pet")
    monkeypatch.chdir("/")
    expected = VALUES * np.reshape(slopes, (4, 1, 1)) - 3
    assert array.dtype == "f8" and np.array_equal(pickle.loads(pickle.dumps(array))[1:, 2:], expected[1:, 2:])
    assert [int(image[0, 0]) for image in pardata.source(tmp_path / "pet").iterate(engine="serial")] == [
        -2,
        59,
        241,
        725,
    ]


def test_slices_at_one_place_are_in_the_order_of_their_numbers(tmp_path):
    same = {"ImagePositionPatient": [[0, 0, 0]] * 4}
    folder = saved(tmp_path / "cine", (2, 0, 3, 1), InstanceNumber=[7, 8, 9, 10], **same)
    assert np.array_equal(pardata.open(folder)[:], VALUES)
    with pytest.raises(pardata.ConfigError, match="neither the places nor the numbers"):
        pardata.open(saved(tmp_path / "no", (0, 1), **same))


def test_a_series_of_several_is_chosen_and_must_be_of_one_kind(tmp_path):
    folder = saved(tmp_path / "two", (0, 1))
    saved(folder, (2, 3), SeriesInstanceUID="1.2.4")
    with pytest.raises(pardata.ConfigError, match=r"has 2 arrays, '1.2.3', '1.2.4': name one"):
        pardata.open(folder)
    array = pardata.open(folder, key="1.2.4")
    assert (
        np.array_equal(array, VALUES[2:]) and np.array_equal(array[-1], VALUES[3]) and array[0, 2, 1] == VALUES[2, 2, 1]
    )
    for wrong in (2, slice(None, None, 2)):
        with pytest.raises(IndexError):
            array[wrong]
    saved(folder, (2, 3), RescaleSlope=2, RescaleIntercept=0, ImagePositionPatient=[[0, 0, 9 + n] for n in range(4)])
    with pytest.raises(pardata.ConfigError, match="have not all the same shape and kind"):
        pardata.open(folder, key="1.2.3")
    folder = saved(tmp_path / "type", (0,), RescaleType="HU")  # without a slope nothing is rescaled
    saved(folder, (1,), RescaleSlope=0.5, RescaleIntercept=0)
    with pytest.raises(pardata.ConfigError, match="have not all the same shape and kind"):
        pardata.open(folder)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "rtdose.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "SC_rgb_rle_2frame.dcm"]
)
def test_frames_of_a_file_are_those_of_the_library(name):
    dataset = pydicom.dcmread(data.get_testdata_file(name, download=False))
    expected = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset)
    array = pickle.loads(pickle.dumps(file_array(pardata.open(dataset.filename))))
    assert array.shape == expected.shape and array.dtype == expected.dtype
    assert np.array_equal(array[:], expected) and np.array_equal(array[1:, 1:3], expected[1:, 1:3])


def test_what_is_refused_is_told(tmp_path):
    file = io.BytesIO()
    save_dicom(file, VALUES[0], 0)
    with pytest.raises(pardata.ConfigError, match="is of no file"):
        file_array(pydicom.dcmread(io.BytesIO(file.getvalue())))
    with pytest.raises(pardata.ConfigError, match="has no images"):
        file_array(pardata.open(data.get_testdata_file("reportsi.dcm", download=False)))
    (tmp_path / "a.dcm").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    for name, key, message in (
        ("a.dcm", None, "DICOM"),
        ("none.dcm", None, "No such file"),
        ("a.dcm", "x", "a file has no key"),
        ("empty", None, "is read as a series of DICOM, and no file in it is an image"),
    ):
        with pytest.raises(pardata.ConfigError, match=message):
            pardata.open(tmp_path / name, key=key)


def test_an_image_that_was_cut_off_is_named(tmp_path):
    folder = saved(tmp_path / "ct", (0, 1, 2))
    broken = folder / "11.ima"
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(ValueError) as caught:
        np.asarray(pardata.open(folder))
    assert caught.value.__notes__ == [f"while image 0 of {broken} was read"]


def test_frames_of_an_enhanced_image_have_scales_of_their_own(tmp_path):
    """pydicom leaves them out."""

    def group(slope, intercept):
        inner, outer = pydicom.Dataset(), pydicom.Dataset()
        inner.RescaleSlope, inner.RescaleIntercept, inner.RescaleType = slope, intercept, "HU"
        outer.PixelValueTransformationSequence = [inner]
        return outer

    per_frame = [group(number + 1, -number) for number in range(4)]
    expected = np.stack([VALUES[number] * (number + 1.0) - number for number in range(4)])
    for groups, wanted in (
        ({"SharedFunctionalGroupsSequence": [group(2, -1024)]}, VALUES * 2.0 - 1024),
        ({"PerFrameFunctionalGroupsSequence": per_frame}, expected),
        ({"SharedFunctionalGroupsSequence": [pydicom.Dataset()]}, VALUES),
        ({"SharedFunctionalGroupsSequence": [group(None, None)]}, VALUES),
    ):
        path = tmp_path / "enhanced.dcm"
        save_dicom(path, VALUES, 0, NumberOfFrames=4, **groups)
        found = pickle.loads(pickle.dumps(file_array(pardata.open(path))))
        assert found.dtype == wanted.dtype and np.array_equal(found[:], wanted) and np.array_equal(found[2], wanted[2])
    save_dicom(path, VALUES, 0, NumberOfFrames=4, PerFrameFunctionalGroupsSequence=[*per_frame[:3], pydicom.Dataset()])
    with pytest.raises(pardata.ConfigError, match="some of its frames have a slope"):
        file_array(pardata.open(path))
