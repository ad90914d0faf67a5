"""Films of a known movement whose headers, timestamps or ends are odd."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.support.films import Frame, write_video
from triton_repo.zoo.training.camera_motion.paths import random_path
from triton_repo.zoo.training.camera_motion.scenes import photograph, render

Make = Callable[[Path], object]

FPS, WIDTH, HEIGHT = 30, 320, 240
X264 = {"options": {"preset": "veryfast", "x264-params": "scenecut=0"}, "gop": 30}
VP8 = {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8", "b": "2000000"}, "gop": 30}
VP9 = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8", "b": "2000000"}, "gop": 30}
MPEG2 = {"codec": "mpeg2video", "options": {"b": "4000000", "bf": "2"}, "gop": 15}
MPEG4 = {"codec": "mpeg4", "options": {"b": "3000000", "bf": "2"}, "gop": 30}
FRAGMENTED = {**X264, "container": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}}
LIVE = {"container": {"live": "1"}}


@cache
def movement(label: str, seconds: float = 3.0, fps: int = FPS) -> tuple[Frame, ...]:
    """The frames of a photograph under a camera that does `label`."""
    camera = random_path(label, np.arange(round(seconds * fps)) / fps, np.random.default_rng(1))
    return tuple(render(photograph("cat"), camera, WIDTH, HEIGHT, 0.5, (0.5, 0.5)))


def film(label: str = "pan_left", seconds: float = 3.0, **made: Any) -> Make:
    """Return what writes a film of one movement."""
    return lambda path: write_video(path, movement(label, seconds), FPS, **(made or X264))


def at_times(frames: Callable[[], Sequence[Frame]], milliseconds: Sequence[int], **made: Any) -> Make:
    """Return what writes frames at those times."""
    return lambda path: write_video(path, frames(), FPS, pts=milliseconds, **(made or X264))


def changed(make: Make, change: Callable[[bytes], bytes]) -> Make:
    """Return what writes a film and then changes its bytes."""

    def write(path: Path) -> None:
        make(path)
        path.write_bytes(change(path.read_bytes()))

    return write


def cut(make: Make, share: float) -> Make:
    """Return what writes the first `share` of a film, not up to the end of a packet of MPEG-TS."""
    return changed(make, lambda data: data[: int(len(data) * share) // 188 * 188 + 100])


def joined(*parts: Make) -> Make:
    """Return what writes films one after the other."""

    def write(path: Path) -> None:
        files = [path.with_name(f"part-{number}-{path.name}") for number in range(len(parts))]
        for make, file in zip(parts, files, strict=True):
            make(file)
        path.write_bytes(b"".join(file.read_bytes() for file in files))
        for file in files:
            file.unlink()

    return write


def with_sound(seconds: float, sound_codec: str, delay_s: float = 0.0, **made: Any) -> Make:
    """Return what writes 3 s of picture, from `delay_s` on, and a sound of `seconds`."""
    settings = {**X264, **made}

    def write(path: Path) -> None:
        with av.open(str(path), "w", options=settings.get("container", {})) as output:
            picture = output.add_stream(settings.get("codec", "libx264"), rate=FPS, options=settings["options"])
            picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            picture.time_base = picture.codec_context.time_base = Fraction(1, 1000)
            rate = 48_000 if sound_codec == "libopus" else 44_100
            sound = output.add_stream(sound_codec, rate=rate, layout="mono")
            packets = []
            for number, frame in enumerate(movement("pan_left")):
                image = av.VideoFrame.from_ndarray(frame, format="rgb24")
                image.pts, image.time_base = round(1000 * (delay_s + number / FPS)), Fraction(1, 1000)
                packets += picture.encode(image)
            packets += picture.encode(None)
            tone = (3000 * np.sin(np.arange(round(rate * seconds)) / 20)).astype(np.int16)[None]
            resampler = av.AudioResampler(
                sound.codec_context.format, "mono", rate, sound.codec_context.frame_size or None
            )
            wave = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            wave.rate, wave.pts, wave.time_base = rate, 0, Fraction(1, rate)
            for piece in [*resampler.resample(wave), *resampler.resample(None)]:
                packets += sound.encode(piece)
            packets += sound.encode(None)
            for packet in sorted(packets, key=lambda packet: float((packet.dts or 0) * packet.time_base)):
                output.mux(packet)

    return write


def matroska_says(seconds: float) -> Callable[[bytes], bytes]:
    """Return what changes the duration in a Matroska's header; its timestamps count milliseconds."""

    def change(data: bytes) -> bytes:
        at = data.index(b"\x44\x89\x88") + 3
        return data[:at] + struct.pack(">d", 1000 * seconds) + data[at + 8 :]

    return change


def flv_says(seconds: float) -> Callable[[bytes], bytes]:
    """Return what changes the duration in an FLV's onMetaData."""

    def change(data: bytes) -> bytes:
        at = data.index(b"\0\x08duration\0") + 11
        return data[:at] + struct.pack(">d", seconds) + data[at + 8 :]

    return change


def avi_says(frames: int) -> Callable[[bytes], bytes]:
    """Return what changes the number of frames in both headers of an AVI."""

    def change(data: bytes) -> bytes:
        count = struct.pack("<I", frames)
        main, stream = data.index(b"avih") + 24, data.index(b"strh") + 40
        data = data[:main] + count + data[main + 4 :]
        return data[:stream] + count + data[stream + 4 :]

    return change


def mp4_says(seconds: float) -> Callable[[bytes], bytes]:
    """Return what changes the duration of the film and of its track in the headers of an MP4, version 0."""

    def change(data: bytes) -> bytes:
        for box in (b"mvhd", b"mdhd"):
            at = data.index(box) + 16
            (scale,) = struct.unpack(">I", data[at : at + 4])
            data = data[: at + 4] + struct.pack(">I", round(seconds * scale)) + data[at + 8 :]
        return data

    return change
