"""Write app/static/sample.mp4, the film behind the page's "Try it with a sample": a drawn landscape, and a moving camera.

python -m tests.support.sample_film
"""

from __future__ import annotations

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tests.support.stacks import CHECKOUT

PATH = CHECKOUT / "app" / "static" / "sample.mp4"
WIDTH, HEIGHT, FPS = 480, 270, 24
SCENE_WIDTH, SCENE_HEIGHT, HORIZON = 1600, 900, 430
# Seconds, then the speed of the camera per second: right and down in pictures, and magnification
MOVES = ((2.5, -0.22, 0, 1), (2, 0, 0, 1), (2.5, 0, 0, 1.28), (2.5, 0, 0.25, 1), (2.5, 0.22, 0, 1))
WALLS = ((196, 170, 140), (214, 199, 170), (170, 110, 90), (225, 215, 205), (150, 160, 170))
LEAVES = ((60, 110, 62), (84, 130, 60), (46, 92, 66), (150, 120, 50))
Picture = NDArray[np.uint8]


def landscape() -> Picture:
    """A sky with clouds, three mountain ranges, a village and trees, RGB uint8 (SCENE_HEIGHT, SCENE_WIDTH, 3)."""
    rng = np.random.default_rng(7)
    fade = np.linspace(0, 1, SCENE_HEIGHT)[:, None, None]
    picture = np.broadcast_to((1 - fade) * (110, 170, 225) + fade * (235, 225, 205), (SCENE_HEIGHT, SCENE_WIDTH, 3))
    picture = np.ascontiguousarray(picture, np.uint8)
    for _ in range(40):
        middle = (int(rng.integers(SCENE_WIDTH)), int(rng.integers(40, HORIZON - 120)))
        cv2.ellipse(
            picture, middle, (int(rng.integers(20, 90)), int(rng.integers(6, 22))), 0, 0, 360, (245, 248, 250), -1
        )
    picture = np.ascontiguousarray(cv2.GaussianBlur(picture, (0, 0), 3), np.uint8)
    for number, colour in enumerate(((140, 155, 180), (105, 125, 130), (95, 130, 85))):
        _range(picture, HORIZON - 110 + 70 * number, 90 - 25 * number, colour, rng)
    for y in sorted(rng.integers(HORIZON + 60, SCENE_HEIGHT, 70)):
        x, size = int(rng.integers(SCENE_WIDTH)), int(14 + (y - HORIZON) * 0.14)
        (_house if rng.random() < 0.35 else _tree)(picture, x, int(y), size, rng)
    grain = rng.normal(0, 5, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def _range(picture: Picture, height: int, rise: int, colour: tuple[int, int, int], rng: np.random.Generator) -> None:
    xs = np.arange(-40, SCENE_WIDTH + 80, 40)
    ys = height - rise * np.abs(np.sin(xs / 170 + rng.uniform(0, 6))) + rng.normal(0, 9, len(xs))
    outline = [*zip(xs, ys, strict=True), (SCENE_WIDTH + 80, SCENE_HEIGHT), (-40, SCENE_HEIGHT)]
    cv2.fillPoly(picture, [np.array(outline, np.int32)], colour)


def _house(picture: Picture, x: int, y: int, size: int, rng: np.random.Generator) -> None:
    wall = WALLS[rng.integers(len(WALLS))]
    cv2.rectangle(picture, (x - size, y - size), (x + size, y), wall, -1)
    roof = [(x - size - 4, y - size), (x, y - 2 * size), (x + size + 4, y - size)]
    cv2.fillPoly(picture, [np.array(roof, np.int32)], (150, 62, 48))
    for side in (-1, 1):
        corner = (x + side * size // 2 - size // 5, y - 3 * size // 4)
        cv2.rectangle(picture, corner, (corner[0] + 2 * size // 5, corner[1] + 2 * size // 5), (55, 65, 85), -1)


def _tree(picture: Picture, x: int, y: int, size: int, rng: np.random.Generator) -> None:
    cv2.rectangle(picture, (x - size // 8, y - size), (x + size // 8, y), (90, 66, 48), -1)
    colour = LEAVES[rng.integers(len(LEAVES))]
    for _ in range(9):
        dx, dy = (int(v) for v in rng.integers(-size // 2, size // 2 + 1, 2))
        shade = tuple(int(np.clip(part + rng.integers(-18, 19), 0, 255)) for part in colour)
        cv2.circle(picture, (x + dx, y - 3 * size // 2 + dy), size // 2, shade, -1)


def main() -> None:
    scene = landscape()
    x, y, zoom = 800.0, 430.0, 1.0
    with av.open(PATH, "w", options={"movflags": "faststart"}) as container:
        options = {"crf": "29", "preset": "veryslow", "x264-params": "asm=avx2"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1  # with more threads the file is not reproducible
        for seconds, right, down, growth in MOVES:
            for _ in range(round(seconds * FPS)):
                x, y, zoom = x + right * WIDTH / FPS / zoom, y + down * HEIGHT / FPS / zoom, zoom * growth ** (1 / FPS)
                matrix = np.array([[1 / zoom, 0, x - WIDTH / 2 / zoom], [0, 1 / zoom, y - HEIGHT / 2 / zoom]])
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                view = cv2.warpAffine(scene, matrix, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
