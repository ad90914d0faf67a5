"""Scenes for the camera: procedural textures, bundled photographs, and rendering of a scene along a path."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from triton_repo.zoo.training.camera_motion.paths import CameraPath

Image = NDArray[np.uint8]
Clip = NDArray[np.uint8]

SCENE_SIZE = 640  # short side of a scene in pixels

# Photographs inside the packages scikit-image and scikit-learn; the second list is never used for training.
TRAINING_PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "clock",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "page",
    "retina",
    "rocket",
    "text",
    "flower.jpg",
)
HELD_OUT_PHOTOGRAPHS = ("cat", "stereo_motorcycle", "china.jpg")


def bundled(name: str) -> Image:
    """Return a bundled photograph in its own size, RGB uint8 (H, W, 3)."""
    if name.endswith(".jpg"):
        from sklearn.datasets import load_sample_image

        image = load_sample_image(name)
    else:
        from skimage import data

        image = getattr(data, name)()
        image = image[0] if isinstance(image, tuple) else image
    image = np.ascontiguousarray(image)
    colours = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image[:, :, :3]
    return np.asarray(colours, np.uint8)


def photograph(name: str) -> Image:
    """Return a bundled photograph, RGB uint8 (H, W, 3), with a short side of SCENE_SIZE pixels."""
    return fit_scene(bundled(name))


def fit_scene(image: Image) -> Image:
    """Return the picture with a short side of SCENE_SIZE pixels."""
    factor = SCENE_SIZE / min(image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=method), dtype=np.uint8)


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(c) for c in rng.integers(0, 256, 3))


def _palette(grey: NDArray[np.float32], rng: np.random.Generator) -> Image:
    """Return a map of values (H, W) coloured with three to six random colours."""
    count = int(rng.integers(3, 7))
    stops = np.linspace(0, 1, count)
    colours = rng.uniform(0, 255, (count, 3))
    low, high = np.percentile(grey, [1, 99])
    value = np.clip((grey - low) / max(high - low, 1e-6), 0, 1)
    return np.stack([np.interp(value, stops, colours[:, c]) for c in range(3)], axis=-1).astype(np.uint8)


def _clouds(rng: np.random.Generator) -> Image:
    """Return noise of several scales, each weaker than the next larger one by a random factor."""
    grey = np.zeros((SCENE_SIZE, SCENE_SIZE), np.float32)
    strength, decay, cells = 1.0, rng.uniform(0.4, 0.95), int(rng.integers(2, 10))
    while cells < SCENE_SIZE:
        noise = rng.standard_normal((cells, cells)).astype(np.float32)
        grey += strength * cv2.resize(noise, (SCENE_SIZE, SCENE_SIZE), interpolation=cv2.INTER_CUBIC)
        strength, cells = strength * decay, cells * 2
    return _palette(grey, rng)


def _cells(rng: np.random.Generator) -> Image:
    """Return cells like stones, tiles or foliage: each pixel has the colour of the nearest random point."""
    count = int(np.exp(rng.uniform(np.log(30), np.log(1500))))
    seeds = np.full((SCENE_SIZE, SCENE_SIZE), 255, np.uint8)
    points = rng.integers(0, SCENE_SIZE, (count, 2))
    seeds[points[:, 0], points[:, 1]] = 0
    distance, nearest = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = rng.uniform(0, 255, (int(nearest.max()) + 1, 3))
    shade = 1 - rng.uniform(0, 1) * (distance / max(float(distance.max()), 1))[..., None]
    return np.asarray(colours[nearest] * shade, dtype=np.uint8)


def _shapes(rng: np.random.Generator) -> Image:
    """Return overlapping rectangles, ellipses, polygons, lines and letters on a gradient, like rooms and streets."""
    corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.float32)
    image = cv2.resize(corners, (SCENE_SIZE, SCENE_SIZE), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    for _ in range(int(rng.integers(8, 90))):
        x, y = (int(v) for v in rng.integers(0, SCENE_SIZE, 2))
        w, h = (int(v) for v in np.exp(rng.uniform(np.log(8), np.log(260), 2)))
        kind, fill = rng.integers(0, 5), -1 if rng.random() < 0.7 else int(rng.integers(1, 9))
        if kind == 0:
            cv2.rectangle(image, (x, y), (x + w, y + h), _colour(rng), fill)
        elif kind == 1:
            cv2.ellipse(image, (x, y), (w // 2 + 1, h // 2 + 1), rng.uniform(0, 180), 0, 360, _colour(rng), fill)
        elif kind == 2:
            corners_xy = rng.integers(-w, w, (int(rng.integers(3, 7)), 2)) + (x, y)
            cv2.fillPoly(image, [corners_xy.astype(np.int32)], _colour(rng))
        elif kind == 3:
            cv2.line(image, (x, y), (x + w, y - h), _colour(rng), int(rng.integers(1, 7)))
        else:
            word = "".join(chr(c) for c in rng.integers(65, 91, int(rng.integers(1, 7))))
            cv2.putText(image, word, (x, y), int(rng.integers(0, 8)), rng.uniform(0.5, 4), _colour(rng), 2)
    return image


_TEXTURES: tuple[Callable[[np.random.Generator], Image], ...] = (_clouds, _cells, _shapes, _shapes)


def sharp_texture(rng: np.random.Generator) -> Image:
    """Return a procedural scene, RGB uint8 (SCENE_SIZE, SCENE_SIZE, 3): one texture, or two combined by a mask."""
    image = _TEXTURES[rng.integers(len(_TEXTURES))](rng)
    if rng.random() < 0.4:
        other = _TEXTURES[rng.integers(len(_TEXTURES))](rng)
        noise = rng.standard_normal((6, 6)).astype(np.float32)
        mask = cv2.resize(noise, (SCENE_SIZE, SCENE_SIZE), interpolation=cv2.INTER_CUBIC) > rng.uniform(-0.5, 0.5)
        image = np.where(mask[..., None], image, other)
    return np.asarray(image, dtype=np.uint8)


def texture(rng: np.random.Generator) -> Image:
    """Return a `sharp_texture`, blurred in two of five cases."""
    image = sharp_texture(rng)
    if rng.random() < 0.4:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 6)), np.uint8)
    return image


def render(scene: Image, path: CameraPath, width: int, height: int, view: float, centre: tuple[float, float]) -> Clip:
    """Return the scene through the camera, RGB uint8 (T, height, width, 3).

    `view` is the part of the scene's short side under the picture's short side. `centre` is the point that the camera's
    zero pose looks at, in parts of the scene's size. Beyond its edges the scene is mirrored.
    """
    scene_height, scene_width = scene.shape[:2]
    scale = view * min(scene_width, scene_height) / min(width, height)
    # Shrinking by more than half would alias, so shrink the scene by area first.
    if scale > 1.5:
        scene = cv2.resize(scene, None, fx=1.2 / scale, fy=1.2 / scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        scene_height, scene_width = scene.shape[:2]
        scale = view * min(scene_width, scene_height) / min(width, height)
    side = min(width, height)
    frames = np.empty((len(path.x), height, width, 3), np.uint8)
    for i in range(len(path.x)):
        matrix = path.picture_to_scene(i, scale)
        position = (
            centre[0] * scene_width + path.x[i] * side * scale,
            centre[1] * scene_height + path.y[i] * side * scale,
        )
        matrix[:, 2] = position - matrix[:, :2] @ ((width - 1) / 2, (height - 1) / 2)
        cv2.warpAffine(
            scene,
            matrix,
            (width, height),
            dst=frames[i],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    return frames
