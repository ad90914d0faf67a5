"""Sharp, well-lit pictures: bundled photographs, procedural textures and collages of both."""

from collections.abc import Sequence

import cv2
import numpy as np

from triton_repo.zoo.architectures import quality_labels as amounts
from triton_repo.zoo.training.camera_motion.scenes import Image, bundled, sharp_texture
from triton_repo.zoo.training.frame_quality.defects import Plane, brightness

# The photographs that camera_motion is trained on, without the soft ones (moon, retina, moving clock), the small
# scanned pages and the mostly black Hubble picture.
TRAINING_PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "immunohistochemistry",
    "rocket",
    "flower.jpg",
)
MIN_PIXELS = 1.15  # least pixels of a scene for each of the network's; fewer would not be sharp


def photograph(name: str) -> Image:
    """Return a bundled photograph in its own size, RGB uint8 (H, W, 3): enlarged it would not be sharp."""
    return np.ascontiguousarray(bundled(name))


def collage(scenes: Sequence[Image], rng: np.random.Generator) -> Image:
    """Return a scene covered with shapes of every size that show other scenes."""
    background = scenes[rng.integers(len(scenes))].copy()
    if rng.random() < 0.35:
        background = np.asarray(cv2.GaussianBlur(background, (0, 0), rng.uniform(1, 6)), np.uint8)
    height, width = background.shape[:2]
    for _ in range(int(rng.integers(2, 20))):
        surface = scenes[rng.integers(len(scenes))]
        size = int(np.exp(rng.uniform(np.log(12), np.log(min(height, width, *surface.shape[:2]) * 0.6))))
        mask = np.zeros((size, size), np.uint8)
        if rng.random() < 0.5:
            axes = tuple(int(v) for v in rng.uniform(0.2, 0.5, 2) * size)
            cv2.ellipse(mask, (size // 2, size // 2), axes, rng.uniform(0, 180), 0, 360, 1, -1)
        else:
            cv2.fillPoly(mask, [rng.integers(0, size, (int(rng.integers(3, 8)), 2)).astype(np.int32)], 1)
        y, x = rng.integers(0, height - size + 1), rng.integers(0, width - size + 1)
        v, u = rng.integers(0, surface.shape[0] - size + 1), rng.integers(0, surface.shape[1] - size + 1)
        patch = background[y : y + size, x : x + size]
        patch[mask > 0] = surface[v : v + size, u : u + size][mask > 0]
    return background


def smooth(shape: tuple[int, ...], cells: int, rng: np.random.Generator) -> Plane:
    """Return a random smooth map (H, W) with `cells` hills a side, about between -2 and 2."""
    field = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def add_soft_background(scene: Image, rng: np.random.Generator) -> Image:
    """Return the scene in focus only in places, like a portrait before a soft background, which counts as sharp."""
    soft = cv2.GaussianBlur(scene, (0, 0), rng.uniform(1.5, 6))
    edge = rng.uniform(2, 20)
    focus = 1 / (1 + np.exp(-edge * (smooth(scene.shape, 4, rng) + rng.uniform(-0.4, 0.8))))
    return (soft + (scene.astype(np.float32) - soft) * focus[..., None] + 0.5).clip(0, 255).astype(np.uint8)


def remove_grain(scene: Image, rng: np.random.Generator) -> Image:
    """Return the scene without grain but with its edges, like pictures of phones and computer graphics."""
    return np.asarray(cv2.bilateralFilter(scene, 5, rng.uniform(8, 24), 3), np.uint8)


def add_uneven_light(scene: Image, rng: np.random.Generator) -> Image:
    """Return the scene under uneven light."""
    light = np.exp(rng.uniform(0.1, 0.6) * smooth(scene.shape, 3, rng))[..., None]
    return (scene * light).clip(0, 255).astype(np.uint8)


class Scenes:
    """Endless random scenes, RGB uint8: photographs with probability `share`, else collages or textures."""

    def __init__(self, photographs: Sequence[str], share: float, rng: np.random.Generator) -> None:
        self.photographs = [photograph(name) for name in photographs]
        self.share, self.rng = share, rng
        self.textures = [] if share == 1 else [sharp_texture(rng) for _ in range(6)]

    def next(self) -> Image:
        """Return a random scene, sometimes polished, shallow, shaded, mirrored, rotated or with swapped colours."""
        rng = self.rng
        if self.textures and rng.random() < 0.4:
            self.textures[rng.integers(len(self.textures))] = sharp_texture(rng)
        chance = rng.random()
        if chance < self.share:
            image = self.photographs[rng.integers(len(self.photographs))]
        elif chance < self.share + (1 - self.share) / 2:
            image = collage([*self.photographs, *self.textures], rng)
        else:
            image = self.textures[rng.integers(len(self.textures))]
        image = remove_grain(image, rng) if rng.random() < 0.4 else image
        image = add_soft_background(image, rng) if rng.random() < 0.3 else image
        image = add_uneven_light(image, rng) if rng.random() < 0.3 else image
        image = image[:, ::-1] if rng.random() < 0.5 else image
        image = np.rot90(image, rng.integers(4)) if rng.random() < 0.5 else image
        return np.ascontiguousarray(image[:, :, rng.permutation(3)] if rng.random() < 0.3 else image)


def random_part(scene: Image, view: int, scale: float, rng: np.random.Generator) -> Image:
    """Return a random, nearly square part of the scene, with `scale` pixels for each of the `view` pixels."""
    height, width = scene.shape[:2]
    smallest = min(MIN_PIXELS * view, min(height, width))
    side = np.exp(rng.uniform(np.log(smallest), np.log(min(height, width))))
    tall, wide = (min(side * rng.uniform(1, 1.2), limit) for limit in (height, width))
    y, x = int(rng.uniform(0, height - tall)), int(rng.uniform(0, width - wide))
    factor = view * scale / min(int(tall), int(wide))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    part = scene[y : y + int(tall), x : x + int(wide)]
    return np.asarray(cv2.resize(part, None, fx=factor, fy=factor, interpolation=method), dtype=np.uint8)


def adjust_light(picture: Image, rng: np.random.Generator) -> Image:
    """Return the picture with random light, contrast and colour within the limits of 'sharp'."""
    low, high = np.percentile(brightness(picture), [5, 95])
    bright = rng.uniform(amounts.SHARP_LIGHT + 10, 250)
    dark = rng.uniform(0, min(70, bright - amounts.SHARP_CONTRAST - 10))
    level = np.clip((np.arange(256) - low) / max(high - low, 1), -0.2, 1.6)
    level = np.sign(level) * np.abs(level) ** np.exp(rng.uniform(-0.4, 0.8))
    curve = (dark + level * (bright - dark)).astype(np.float32)
    if rng.random() < 0.15:
        picture = np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    tinted = cv2.LUT(picture, curve) * np.exp(rng.uniform(-0.12, 0.12, 3)).astype(np.float32)
    return np.clip(tinted + 0.5, 0, 255).astype(np.uint8)


def add_letterbox(picture: Image, rng: np.random.Generator) -> Image:
    """Return the picture with black bars above and below, or left and right."""
    picture, dark = picture.copy(), int(rng.integers(0, 17))
    for side in (picture, picture.transpose(1, 0, 2))[:: 1 if rng.random() < 0.7 else -1][:1]:
        bar = int(rng.uniform(0.07, 0.16) * len(side))
        side[:bar], side[len(side) - bar :] = dark, dark
    return picture


def well_lit(picture: Image) -> bool:
    """Return whether brightness and contrast are within the limits of 'sharp'."""
    dark, middle, bright = np.percentile(brightness(picture), [5, 50, 95])
    contrast = bright - dark >= amounts.SHARP_CONTRAST
    return bool(bright >= amounts.SHARP_LIGHT and middle <= amounts.SHARP_MEDIAN and contrast)


def detail(picture: Image, scale: float) -> tuple[float, float]:
    """Return edge and change of the picture in the network's view, as LEAST_EDGE and LEAST_CHANGE define them."""
    view = cv2.resize(picture, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    light = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY).astype(np.float32)
    low, high = np.percentile(light[::2, ::2], [5, 95])
    contrast = float(high - low) + 16
    edge = float(np.percentile(np.abs(light - cv2.GaussianBlur(light, (3, 3), 0))[::2, ::2], 99))
    along_x, along_y = cv2.Sobel(light, -1, 1, 0, ksize=1) / 2, cv2.Sobel(light, -1, 0, 1, ksize=1) / 2
    both = float((along_x * along_y).mean())
    tensor = [[float((along_x**2).mean()), both], [both, float((along_y**2).mean())]]
    return edge / contrast, float(np.sqrt(max(0.0, np.linalg.eigvalsh(tensor)[0]))) / contrast


def detailed(picture: Image, scale: float) -> bool:
    """Return whether the picture has enough detail for blur to be visible."""
    edge, change = detail(picture, scale)
    return edge >= amounts.LEAST_EDGE and change >= amounts.LEAST_CHANGE
