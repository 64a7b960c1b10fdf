"""Videos and sound beside what the conformance suite asks of every format: codecs, and files that are sought about."""

import pickle
import wave

import numpy as np
import pytest

import pardata
from pardata.data.file_array import FileArray
from pardata.data.registry import file_array, in_files

av = pytest.importorskip("av")

COUNT, HEIGHT, WIDTH = 40, 48, 64


def encoded(path, codec, pixels="yuv420p", **options):
    """Write a film of noise that moves."""
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, width=WIDTH, height=HEIGHT, pix_fmt=pixels, options=options)
        for number in range(COUNT):
            frame = np.roll(picture, (number, 2 * number), (0, 1))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return path


def looped(path, form):
    """Return the frames that a loop over the file gives."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format=form) for frame in file.decode(video=0)])


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "form", "options"),
    [
        ("a.mp4", "libx264", "yuv420p", "rgb24", {"g": "9"}),  # frames are stored in another order than they are shown
        ("a.ts", "libx264", "yuv420p", "rgb24", {"g": "9"}),  # a seek ends behind the frame
        ("a.mpg", "mpeg2video", "yuv420p", "rgb24", {"g": "9", "bf": "2"}),
        ("a.mp4", "libx264", "yuv420p", "rgb24", {"g": "9", "x264-params": "intra-refresh=1:bframes=0"}),
        ("a.mov", "prores_ks", "yuv422p10le", "rgb48le", {}),
        ("a.mkv", "ffv1", "bgra", "rgba", {"g": "9"}),
    ],
)
def test_frames_are_those_of_a_loop(tmp_path, name, codec, pixels, form, options):
    path = encoded(tmp_path / name, codec, pixels, **options)
    expected, array = looped(path, form), file_array(pardata.open(path))
    assert array.shape == expected.shape and array.dtype == expected.dtype and array.page_rows < 15
    sent = pickle.loads(pickle.dumps(array))
    for number in (COUNT - 1, 0, *np.random.default_rng(1).permutation(COUNT)):
        assert np.array_equal(sent[number : number + 3], expected[number : number + 3])
    assert np.array_equal(sent[5:20, 3:9, 1:], expected[5:20, 3:9, 1:])


def test_a_part_of_a_broadcast_begins_between_key_frames(tmp_path):
    path = encoded(tmp_path / "a.ts", "libx264", g="9")
    (tmp_path / "b.ts").write_bytes(path.read_bytes()[188 * 40 :])
    expected, array = looped(tmp_path / "b.ts", "rgb24"), file_array(pardata.open(tmp_path / "b.ts"))
    assert len(array[:]) > 20 and np.array_equal(array[:], expected[-array.shape[0] :])


def test_what_has_no_times_is_decoded_in_order(tmp_path):
    path = encoded(tmp_path / "a.h264", "libx264", g="9")
    with av.open(str(path)) as file:
        stream = pardata.source(file.streams.video[0])
        with pytest.raises(pardata.ConfigError, match=r"can only be read in order, as the file does not say when each"):
            file_array(file.streams.video[0])
    assert np.array_equal(np.stack(list(stream.iterate(engine="serial"))), looped(path, "rgb24"))
    assert "decode a.h264 in order" in str(stream)
    encoded(tmp_path / "a.avi", "libx264", g="9")
    found = in_files(pardata.open(tmp_path / "a.avi"))
    assert not isinstance(found, FileArray) and "at other times" in found.reason


@pytest.mark.parametrize(("codec", "name"), [("pcm_s16le", "a.mkv"), ("mp3", "a.mp3")])
def test_sound_is_decoded_in_order(tmp_path, codec, name):
    samples = (np.sin(np.arange(8000) / 9)[:, None] * [10_000, 5_000]).astype("i2")
    if codec == "mp3":
        with av.open(str(tmp_path / name), "w") as file:
            stream = file.add_stream(codec, rate=16_000)
            stream.layout = "stereo"
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="stereo")
            frame.sample_rate = 16_000
            for packet in [*stream.encode(frame), *stream.encode()]:
                file.mux(packet)
    else:
        name = "a.wav"
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((2, 2, 16_000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
    stream = pardata.source(tmp_path / name)
    found = np.concatenate(list(stream.iterate(engine="serial")))
    with av.open(str(tmp_path / name)) as file:
        expected = [frame.to_ndarray() for frame in file.decode(audio=0)]
    if codec == "mp3":
        assert found.dtype == "f4" and np.array_equal(found, np.concatenate(expected, axis=1).T)
    else:
        assert found.dtype == "i2" and np.array_equal(found, samples)
    with pytest.raises(pardata.ConfigError, match="as sound is, by one process"):
        pardata.source(tmp_path / name, workers=2)
    with pytest.raises(pardata.ConfigError, match=r"in order, as sound is: pardata.source\(...\) does"):
        file_array(pardata.open(tmp_path / name))


def test_what_is_refused_is_told(tmp_path):
    path = encoded(tmp_path / "a.mp4", "mpeg4")
    with av.open(str(path)) as file:
        with pytest.raises(pardata.ConfigError, match="an? InputContainer of PyAV has streams: give one"):
            pardata.source(file)
        assert in_files(next(file.decode(video=0))) is None
        stream = file.streams.video[0]
    with pytest.raises(pardata.ConfigError, match="was closed"):
        pardata.source(stream)
    with (
        path.open("rb") as data,
        av.open(data) as file,
        pytest.raises(pardata.ConfigError, match="no file that another"),
    ):
        pardata.source(file.streams.video[0])
    (tmp_path / "b.mp4").write_bytes(b"nothing")
    for name in ("b.mp4", "none.mp4"):
        with pytest.raises(pardata.ConfigError, match=r"open\(.*mp4"):
            pardata.open(tmp_path / name)
    with pytest.raises(pardata.ConfigError, match="has no array '7'; it has '0'"):
        pardata.open(path, key="7")
