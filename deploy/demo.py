"""Demo: classify a video with the running stack.

Usage: python -m deploy.demo [FILE]

Without FILE it renders a short clip in which the camera pans left.
"""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from app.settings import CHECKOUT
from deploy.stack.stack import Stack

CLIP = CHECKOUT / ".runtime" / "demo" / "pan_left.mp4"
WIDTH, HEIGHT, FPS, SECONDS, SPEED = 640, 360, 30, 3, 4  # SPEED: pixels per frame
COMMAND_TIMEOUT_S = 120
Floats = NDArray[np.float64]


def landscape(width: int, height: int) -> NDArray[np.uint8]:
    """Return a synthetic picture (height x width x 3) of coloured patches of many sizes.

    The seed is fixed, so every call returns the same picture.
    """
    rng = np.random.default_rng(20)
    picture = np.zeros((height, width, 3))
    for size in (128, 64, 32, 16, 8):
        patches = rng.random((height // size + 2, width // size + 2, 3))
        rows, columns = np.arange(height) / size, np.arange(width) / size
        picture += size**0.4 * _blended(patches, rows, columns)
    return np.asarray(255 * (picture - picture.min()) / np.ptp(picture), np.uint8)


def _blended(patches: Floats, rows: Floats, columns: Floats) -> Floats:
    """Sample `patches` bilinearly at the fractional `rows` and `columns`."""
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = patches[top][:, left] * (1 - right) + patches[top][:, left + 1] * right
    lower = patches[top + 1][:, left] * (1 - right) + patches[top + 1][:, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down)


def film(path: Path) -> None:
    """Write a video in which the camera pans left, so the picture moves right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = FPS * SECONDS
    picture = landscape(WIDTH + SPEED * count, HEIGHT)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=FPS, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        for number in range(count):
            left = SPEED * (count - number)
            view = np.ascontiguousarray(picture[:, left : left + WIDTH])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode(None))


def main(arguments: list[str]) -> int:
    """Classify the file in `arguments`, or a rendered clip, and return the client's exit status."""
    if arguments:
        clip = Path(arguments[0])
    else:
        clip = CLIP
        film(clip)
        print(f"Rendered {clip.relative_to(CHECKOUT)}: {SECONDS} s in which the camera pans left")
    command = [
        str(Path(sys.executable).with_name("clipstack")),
        "classify",
        "--url",
        Stack().as_started().url,
        str(clip),
    ]
    return subprocess.run(command, timeout=COMMAND_TIMEOUT_S).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
