"""Small videos and pictures for tests: numbered frames, known motion, known corners."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # (height, width, 3), RGB

_BITS = 8
_NAMES = {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}


def numbered(number: int, width: int = 160, height: int = 120) -> Frame:
    """Return a frame that shows its `number` (0 to 255) as eight black or white bars across its central square."""
    frame = np.full((height, width, 3), 128, np.uint8)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    for bit in range(_BITS):
        start, end = left + side * bit // _BITS, left + side * (bit + 1) // _BITS
        frame[top : top + side, start:end] = 235 if number >> bit & 1 else 20
    return frame


def read_number(square: Frame) -> int:
    """Return the number of a `numbered` frame, read from its central square of at least 16 pixels."""
    side = square.shape[1]
    centres = [side * (2 * bit + 1) // (2 * _BITS) for bit in range(_BITS)]
    middle = square[square.shape[0] // 2, centres].mean(axis=-1)
    return sum(1 << bit for bit, light in enumerate(middle) if light > 128)


def corners(width: int = 160, height: int = 120) -> Frame:
    """Return a frame of four quarters that shows its orientation: red, green above; blue, white below."""
    frame = np.empty((height, width, 3), np.uint8)
    frame[: height // 2, : width // 2] = (230, 20, 20)
    frame[: height // 2, width // 2 :] = (20, 230, 20)
    frame[height // 2 :, : width // 2] = (20, 20, 230)
    frame[height // 2 :, width // 2 :] = (230, 230, 230)
    return frame


def read_corners(frame: Frame) -> str:
    """Return the colours of the four quarters row by row: "rgbw" if upright."""
    height, width, _ = frame.shape
    names = []
    for y, x in ((1, 1), (1, 3), (3, 1), (3, 3)):
        colour = frame[height * y // 4, width * x // 4] > 128
        names.append(_NAMES.get(tuple(colour.tolist()), "?"))
    return "".join(names)


def texture(width: int, height: int, seed: int = 0) -> Frame:
    """Return a random picture of many scales, with an edge, in the muted colours of a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.arange(height)[:, None] / min(width, height), np.arange(width) / min(width, height)
    picture = np.zeros((height, width, 3))
    for octave in range(1, 6):
        angle, phase = rng.uniform(0, 2 * np.pi, (2, 3))
        turns = 2.0**octave * 2 * np.pi
        # sin(a + b) of a row and a column: sines and cosines of their edges alone, not of every pixel
        down = np.exp(1j * (turns * y * np.sin(angle) + phase))[:, None]
        picture += (down * np.exp(1j * turns * x[:, None] * np.cos(angle))).imag / octave
    picture += np.where((x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06, 1.5, 0.0)[..., None]
    grey = picture.mean(axis=-1, keepdims=True)
    picture = grey + 0.4 * (picture - grey)
    picture = (picture - picture.min()) / np.ptp(picture)
    return np.round(picture * 255).astype(np.uint8)


def panning(count: int, width: int = 160, height: int = 120, step: int = 3, seed: int = 0) -> list[Frame]:
    """Return `count` frames of a camera that pans left: the picture moves right by `step` pixels per frame."""
    wide = texture(width + step * count, height, seed)
    lefts = [step * (count - number) for number in range(count)]
    return [np.ascontiguousarray(wide[:, left : left + width]) for left in lefts]


def write_video(
    path: Path,
    frames: Iterable[Frame],
    fps: int | Fraction = 30,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rotation: int = 0,
    mirrored: bool = False,
    aspect: Fraction | None = None,
    gop: int = 12,
    pts: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Encode `frames` to `path`, whose suffix names the container.

    `rotation` is the turn a player applies, in degrees clockwise; it then mirrors a `mirrored` film left to right.
    `aspect` is the width of a stored pixel divided by its height. `pts` gives every frame's time in
    milliseconds, for a variable frame rate. `options` go to the encoder, `container` to the muxer.
    """
    with av.open(str(path), "w", options=container or {}) as output:
        stream, base = None, Fraction(1)
        for number, frame in enumerate(frames):
            if stream is None:
                stream = output.add_stream(codec, rate=fps, options=options or {})
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt, stream.gop_size = pixels, gop
                stream.codec_context.thread_count = 1
                base = 1 / Fraction(fps) if pts is None else Fraction(1, 1000)
                stream.time_base = stream.codec_context.time_base = base
                if rotation or mirrored:
                    stream.set_display_rotation(-rotation, hflip=mirrored)
                if aspect is not None:
                    stream.codec_context.sample_aspect_ratio = aspect
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = number if pts is None else pts[number]
            picture.time_base = base
            output.mux(stream.encode(picture))
        if stream is not None:
            output.mux(stream.encode())
    return path


def write_sound(path: Path, seconds: float = 0.5) -> Path:
    """Write a file with sound and no picture."""
    rate = 8000
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=rate)
        tone = np.sin(np.arange(int(rate * seconds)) / 8).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        sound.rate = rate
        output.mux(stream.encode(sound))
        output.mux(stream.encode())
    return path
