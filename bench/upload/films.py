"""Films that the benchmark makes: large ones, where smaller uploads save most."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (height, width, 3), RGB

WIDTH, HEIGHT, FPS = 1920, 1080, 30
# Encoders, their fast options, and bits per second that phones and cameras record at this size
CODECS: dict[str, tuple[dict[str, str], int]] = {
    "libx264": ({"preset": "superfast"}, 8_000_000),
    "libx265": ({"preset": "ultrafast", "x265-params": "log-level=none"}, 5_000_000),
    "libvpx-vp9": ({"deadline": "realtime", "cpu-used": "8"}, 5_000_000),
}
GROUP = FPS  # frames between key frames, as in phones and cameras
SPEED = 6  # pixels per frame
LOOP_S = 8


def landscape(width: int, height: int) -> Picture:
    """Return a picture to film: patches of many sizes, the same on every call."""
    rng = np.random.default_rng(7)
    picture = np.zeros((height, width, 3), np.float32)
    for size in (240, 120, 60, 30, 15, 6):
        patches = rng.random((height // size + 2, width // size + 2, 3), np.float32)
        picture += np.float32(size**0.35) * np.kron(patches, np.ones((size, size, 1), np.float32))[:height, :width]
    return np.asarray(255 * (picture - picture.min()) / np.ptp(picture), np.uint8)


def film(path: Path, seconds: int, codec: str = "libx264") -> Path:
    """Write an MP4 of 1920x1080 in which the camera pans there and back every sixteen seconds."""
    options, bit_rate = CODECS[codec]
    with av.open(str(path), "w") as container:
        rate = Fraction(FPS)
        stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options))
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", bit_rate
        stream.codec_context.max_b_frames, stream.gop_size = 0, GROUP
        encoded: list[Packet[Any]] = []
        for number, view in enumerate(_views(min(seconds, 2 * LOOP_S))):
            frame = VideoFrame.from_ndarray(view, format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            encoded += stream.encode(frame)
        encoded += stream.encode(None)
        for number in range(seconds * FPS):  # a longer film repeats the packets: encoding it would take minutes
            packet = _copy(encoded[number % len(encoded)])
            packet.stream, packet.time_base = stream, 1 / rate
            packet.pts = packet.dts = number
            container.mux(packet)
    return path


def _copy(packet: Packet[Any]) -> Packet[Any]:
    copied: Packet[Any] = Packet(bytes(packet))
    copied.is_keyframe = packet.is_keyframe
    return copied


def _views(seconds: int) -> Iterator[Picture]:
    """Yield the camera's pictures with sensor grain."""
    length = LOOP_S * FPS
    picture = landscape(WIDTH + SPEED * length, HEIGHT)
    rng = np.random.default_rng(8)
    grains = rng.integers(0, 7, (4, HEIGHT, WIDTH, 1), np.uint8)
    for number in range(seconds * FPS):
        place = number % (2 * length)
        left = SPEED * (place if place < length else 2 * length - 1 - place)
        view = picture[:, left : left + WIDTH]
        yield np.minimum(view, 248) + grains[number % len(grains)]
