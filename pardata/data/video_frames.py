"""Frames of a video stream (PyAV) by their numbers: decoded from a key frame on.

      numbers ---> times, of the packets in the file ---> seek to a key frame, decode up to the time

Many formats are sought only about: what comes out is known by its time, and where a frame does not come the decoder
begins further in front, at last at the beginning of the file. So frames are those that a loop over the file gives.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import av
import numpy as np

from pardata.data.file_array import Array
from pardata.errors import BrokenError, ConfigError

_LOOKED_AT: Final = 24  # frames that are decoded to see whether packets tell their times; more than codecs put in order
_MOST_BITS: Final = 16


class FrameTimes(NamedTuple):
    """The times of frames, in order, and which of them are key frames, by number."""

    times: Array
    keys: Array

    def key_of(self, number: int) -> int:
        """Return the place in `keys` of the last key frame that is not behind a frame."""
        return int(np.searchsorted(self.keys, number, "right")) - 1


def open_stream(path: str, number: int) -> Any:
    """Return a stream of a file that is opened for it; its container is closed with the last reference."""
    stream = av.open(path).streams[number]
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = os.cpu_count() or 1  # in a worker that is its share
    return stream


def times_of(path: str, number: int) -> tuple[FrameTimes | None, str]:
    """Return the times of a stream's frames, or None and the reason why they are not known without decoding all."""
    stream = open_stream(path, number)
    packets = [
        (packet.pts, packet.is_keyframe and not packet.is_corrupt)
        for packet in stream.container.demux(stream)
        if packet.size and not packet.is_discard
    ]
    packets = list(itertools.dropwhile(lambda packet: not packet[1], packets))  # a cut may begin between key frames
    found = [time for time, _ in packets]
    if not found:
        return None, "it has no key frame"
    if None in found or len(set(found)) < len(found):
        return None, "the file does not say when each frame is shown"
    first = found[0]
    times = np.array(sorted(time for time in found if time >= first), np.int64)
    keys = np.searchsorted(times, sorted(time for time, is_key in packets if is_key and time >= first))
    made = FrameTimes(times, keys)
    decoder = FrameDecoder(open_stream(path, number), made)
    if any(decoder.decoded(place) is None for place in range(min(len(times), _LOOKED_AT))):
        return None, "its frames are shown at other times than the file says"
    return made, ""


def pixel_format(stream: Any) -> tuple[str, tuple[int, ...], str]:
    """Return the format into which frames of a stream are converted, and shape and dtype of its arrays.

    As many channels as there are: gray or colours, with alpha or without; 16 bits for what has more than 8.
    """
    given = stream.format
    is_gray = given.name.startswith(("gray", "mono"))
    has_alpha = any(part.is_alpha for part in given.components) or given.has_palette
    is_deep = max(part.bits for part in given.components) > 8
    if max(part.bits for part in given.components) > _MOST_BITS:
        raise ConfigError(f"{stream.container.name} has pixels of {given.name}, with more than {_MOST_BITS} bits")
    kind = "gray" if is_gray else "rgba" if has_alpha else "rgb"
    name = {"gray": "gray16le", "rgb": "rgb48le", "rgba": "rgba64le"}[kind] if is_deep else kind
    channels = () if is_gray else (len(kind),)
    return "rgb24" if name == "rgb" else name, (stream.height, stream.width, *channels), "u2" if is_deep else "u1"


class FrameDecoder:
    """A stream that this process has opened, at some frame.

    Attributes
    ----------
    position : int
        The number of the next frame that comes out; -1: not known.
    """

    def __init__(self, stream: Any, known: FrameTimes) -> None:
        self._stream = stream
        self._known = known
        self._frames = self._decode()
        self.position = 0

    def frame(self, number: int) -> Any:
        """Return a frame. Raises `BrokenError` if it cannot be decoded."""
        if self._is_near(number):
            found = self.decoded(number)
            if found is not None:
                return found
        place, step = self._known.key_of(number), 1
        while place >= 0:
            self._seek(int(self._known.times[self._known.keys[place]]))
            found = self.decoded(number)
            if found is not None:
                return found
            place, step = place - step, 2 * step
        self._seek(None)
        found = self.decoded(number)
        if found is None:
            raise BrokenError(f"{self._stream.container.name}: frame {number} cannot be decoded")
        return found

    def is_before(self, number: int) -> bool:
        """Return whether a frame is the next one to come out, or one behind it."""
        return 0 <= self.position <= number

    def _is_near(self, number: int) -> bool:
        """Return whether there is no key frame on the way, from which it would be nearer."""
        return self.is_before(number) and self._known.keys[self._known.key_of(number)] <= self.position

    def decoded(self, number: int) -> Any:
        """Return a frame that is in front; None if it does not come out, and the position is not known then."""
        wanted, self.position = self._known.times[number], -1
        for frame in self._frames:
            if frame.pts is not None and frame.pts >= wanted:
                if frame.pts > wanted or frame.is_corrupt:
                    return None
                self.position = number + 1
                return frame
        return None

    def _seek(self, time: int | None) -> None:
        """Go to about a time, or to the beginning of the file."""
        container = self._stream.container
        if time is None:
            path, number = container.name, self._stream.index
            container.close()
            self._stream = open_stream(path, number)
        else:
            container.seek(time, stream=self._stream)
        self._frames = self._decode()

    def _decode(self) -> Iterator[Any]:
        """Yield frames from the next key frame on, in the order in which they are shown."""
        packets = self._stream.container.demux(self._stream)
        for packet in itertools.dropwhile(lambda packet: packet.size and not packet.is_keyframe, packets):
            yield from packet.decode()
