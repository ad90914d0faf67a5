"""Rendered films in which a shape moves in one of five ways, in any colours, sizes, places and speeds."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

SIDE, FPS, SECONDS = 160, 30, 2.5
MOTIONS = ("blink", "bounce", "scale", "spin", "still")

Frame = NDArray[np.uint8]


def write_shapes(folder: Path, count: int, seed: int) -> int:
    """Write `count` MP4 files of each motion to FOLDER/<motion>/ and return the number of all files."""
    for index, motion in enumerate(MOTIONS):
        (folder / motion).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            rng = np.random.default_rng((seed, index, number))
            _encode(folder / motion / f"{number:03d}.mp4", film(motion, rng))
    return count * len(MOTIONS)


def film(motion: str, rng: np.random.Generator) -> Iterator[Frame]:
    """Yield the frames, uint8 (SIDE, SIDE, 3), of one film."""
    background = _background(rng)
    colour = rng.integers(0, 256, 3)
    if abs(int(colour.sum()) - int(background.mean() * 3)) < 150:  # the shape must be seen
        colour = (colour + 128) % 256
    corners = int(rng.integers(3, 7))
    outline = _outline(corners, rng)
    radius, centre = rng.uniform(0.2, 0.3) * SIDE, rng.uniform(0.35, 0.65, 2) * SIDE
    angle, phase = rng.uniform(0, 2 * np.pi, 2)
    hertz = rng.uniform(0.7, 1.6)
    for number in range(int(SECONDS * FPS)):
        turn = 2 * np.pi * hertz * number / FPS
        place, size, rotation, shown = centre, radius, angle, True
        if motion == "blink":
            shown = np.sin(turn + phase) > 0
        elif motion == "bounce":
            height = abs(np.sin(turn / 2 + phase)) * 0.5 * SIDE
            place = np.array([centre[0], SIDE - radius - height])
        elif motion == "scale":
            size = radius * (1 + 0.7 * np.sin(turn + phase))
        elif motion == "spin":
            rotation = angle + turn
        yield _drawn(background, outline, colour, (place, size, rotation) if shown else None)


def _outline(corners: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the corners (N, 2) of a shape of radius 1 that no rotation maps onto itself."""
    angles = np.arange(corners) * 2 * np.pi / corners
    radii = rng.uniform(0.5, 1.0, corners)
    radii[0] = 1.2
    corner_points: NDArray[np.float64] = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    return corner_points


def _background(rng: np.random.Generator) -> Frame:
    coarse = rng.integers(0, 256, (4, 4, 3)).astype(np.float32)
    soft = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray((soft * 0.4 + rng.integers(0, 150)).clip(0, 255), np.uint8)


def _drawn(
    background: Frame,
    outline: NDArray[np.float64],
    colour: NDArray[np.int64],
    pose: tuple[NDArray[np.float64], float, float] | None,
) -> Frame:
    frame = background.copy()
    if pose:
        (x, y), size, rotation = pose
        cos, sin = np.cos(rotation), np.sin(rotation)
        points = outline @ np.array([[cos, sin], [-sin, cos]]) * size + (x, y)
        cv2.fillPoly(frame, [(points * 16).astype(np.int32)], colour.tolist(), cv2.LINE_AA, shift=4)
    return frame


def _encode(path: Path, frames: Iterator[Frame]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", FPS, options={"crf": "20", "preset": "veryfast", "threads": "1"})
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, FPS)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
