"""Streams of video and audio files (PyAV): a video is an array of its frames where any process can decode any of them.

The others - sound, and videos that do not tell when their frames are shown - are decoded from the beginning, in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import av
import numpy as np

from pardata.data.file_array import Array, FileArray, Selection, check_mark, file_mark, gone
from pardata.data.file_items import FileItems
from pardata.data.registry import chosen_key
from pardata.data.video_frames import FrameDecoder, FrameTimes, open_stream, pixel_format, times_of
from pardata.errors import BrokenError, ConfigError

_PAGE_BYTES: Final = 64 << 20  # the frames between two key frames, which one process decodes, if they are no more
_COVER: Final = av.stream.Disposition.attached_pic  # the picture of a sound file


class VideoArray(FileArray):
    """The frames of a video stream: opened again by the path of the file and the number of the stream in it."""

    of_process: ClassVar[tuple[str, ...]] = ("_free",)
    way_to_write = "pardata writes no videos; PyAV does, container.mux(stream.encode(frame))"

    def __init__(self, stream: Any, known: FrameTimes) -> None:
        self._path, self._number = _place(stream)
        self._known = known
        self._format, shape, dtype = pixel_format(stream)
        self._mark = file_mark(self._path)
        self._free: list[FrameDecoder] = []  # those that no thread is using
        count = len(self._known.times)
        gap = int(np.diff(self._known.keys, append=count).max())
        frame_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        page = (max(1, min(gap, _PAGE_BYTES // frame_bytes)), *shape)
        super().__init__(f"{self._path}:{self._number}", (count, *shape), np.dtype(dtype), page, page, "none")

    def read_into(self, selection: Selection, out: Array) -> None:
        check_mark(self.location, self._path, self._mark)
        frames, *inner = selection
        decoder = self._decoder(frames.start)
        for place, number in enumerate(range(frames.start, frames.stop)):
            values = decoder.frame(number).to_ndarray(format=self._format)
            if values.shape != self.shape[1:]:
                raise BrokenError(
                    f"{self.location}: frame {number} has shape {values.shape}, and the first one {self.shape[1:]}"
                )
            out[place] = values[tuple(inner)]
        self._free.append(decoder)

    def _decoder(self, number: int) -> FrameDecoder:
        """Return a decoder that nobody else uses, if there is one that can go on up to a frame; else a new one."""
        found = max(self._free, key=lambda decoder: (decoder.is_before(number), decoder.position), default=None)
        if found is not None:
            try:
                self._free.remove(found)
            except ValueError:  # another thread has taken it
                found = None
        return found or FrameDecoder(_opened(self._path, self._number), self._known)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_free": []}


class FramesInOrder(FileItems):
    """The frames of a stream as they come, an array for each; one of sound has shape (samples, channels)."""

    def __init__(self, stream: Any, reason: str) -> None:
        self._path, self._number = _place(stream)
        self._format = pixel_format(stream)[0] if stream.type == "video" else ""
        super().__init__(f"{self._path}:{self._number}", f"decode {os.path.basename(self._path)} in order", reason)

    def __call__(self) -> Iterator[Array]:
        stream = _opened(self._path, self._number)
        for frame in stream.container.decode(stream):
            yield frame.to_ndarray(format=self._format) if self._format else _samples(frame)


def _samples(frame: Any) -> Array:
    values: Array = frame.to_ndarray()
    return np.ascontiguousarray(values.T) if frame.format.is_planar else values.reshape(frame.samples, -1)


def _place(stream: Any) -> tuple[str, int]:
    """Return the path of a stream's file, and its number in it."""
    name = stream.container.name
    if _is_closed(stream):
        raise ConfigError(f"the stream of {name} is of a file that was closed: open it again")
    if stream.container.file is not None or not os.path.isfile(name):
        raise ConfigError(f"the stream is of {name!r}, which is no file that another process could open: save it")
    return os.path.abspath(name), stream.index


def _is_closed(stream: Any) -> bool:
    try:
        return not len(stream.container.streams)
    except AssertionError:  # of newer versions
        return True


def _opened(path: str, number: int) -> Any:
    try:
        return open_stream(path, number)
    except (OSError, IndexError, av.FFmpegError) as error:
        raise gone(path, error) from error


def adapt(found: Any) -> FileArray | FileItems | None:
    """Return how a stream is read; None of other objects. Raises `ConfigError` for a file."""
    if isinstance(found, av.AudioStream):
        return FramesInOrder(found, "sound is")
    if isinstance(found, av.VideoStream):
        known, reason = times_of(*_place(found))
        return FramesInOrder(found, reason) if known is None else VideoArray(found, known)
    if isinstance(found, av.container.Container):
        raise ConfigError(f"a {type(found).__name__} of PyAV has streams: give one of them, container.streams[0]")
    return None


def open_path(path: str, key: str | None) -> Any:
    """Return the only stream of a file, the only one that is a video, or the one whose number is `key`."""
    try:
        container = av.open(os.path.abspath(path))
    except (OSError, av.FFmpegError) as error:
        raise ConfigError(f"open({path!r}): {error}") from error
    videos = [stream for stream in container.streams.video if not stream.disposition & _COVER]
    if key is None and len(videos) == 1:
        return videos[0]
    streams = [*videos, *container.streams.audio]
    return container.streams[int(chosen_key(path, key, [str(stream.index) for stream in streams]))]
