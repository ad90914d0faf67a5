"""Picture faults of `frame_quality` in given amounts: RGB uint8 (H, W, 3) in and out.

`scale` is the number of the picture's pixels for one pixel of the network's view. `strength` is the position in the range
of the fault's label (quality_labels.py), from 0, the faintest, to 1.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from triton_repo.zoo.architectures import quality_labels as amounts
from triton_repo.zoo.architectures.quality_labels import Range
from triton_repo.zoo.training.camera_motion.scenes import Image
from triton_repo.zoo.training.frame_quality.compression import even, through_h264, through_jpeg

Plane = NDArray[np.float32]

GAMMA = 2.2  # approximate exponent from sensor light to grey levels
TO_LIGHT = (np.arange(256) / 255.0).astype(np.float32) ** GAMMA


def amount_at(limits: Range, strength: float) -> float:
    """Return the amount at `strength` of a range, on a logarithmic scale."""
    return float(limits[0] * (limits[1] / limits[0]) ** strength)


def brightness(picture: Image) -> Plane:
    """Return the luma of every second pixel in height and width, which is enough for percentiles."""
    return np.asarray(picture[::2, ::2] @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)


# --- Blur ------------------------------------------------------------------------------------------------------------


def convolve_light(picture: Image, kernel: Plane) -> Image:
    """Return the picture convolved with `kernel` in linear light, as a lens does: highlights stay bright."""
    light = cv2.LUT(picture, TO_LIGHT)
    light = cv2.filter2D(light, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(np.maximum(light, 0) ** (1 / GAMMA) * 255 + 0.5, np.float32).clip(0, 255).astype(np.uint8)


def disc(radius: float) -> Plane:
    """Return the kernel of a point out of focus: a disc with anti-aliased border."""
    half = int(np.ceil(radius))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    return np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)


def stroke(length: float, angle: float, bend: float) -> Plane:
    """Return the kernel of a point during camera motion: a line of `length` pixels that turns by `bend` radians."""
    steps = int(np.ceil(length * 4)) + 1
    heading = angle + bend * np.linspace(-0.5, 0.5, steps)
    x, y = np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))
    x, y = (x - x.mean()) * length / steps, (y - y.mean()) * length / steps
    half = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, down = x - left, y - top
    weights = (
        (0, 0, (1 - right) * (1 - down)),
        (1, 0, right * (1 - down)),
        (0, 1, (1 - right) * down),
        (1, 1, right * down),
    )
    for dx, dy, weight in weights:
        np.add.at(kernel, (top + half + dy, left + half + dx), weight)
    return kernel


def defocus(picture: Image, scale: float, strength: float, rng: np.random.Generator) -> Image:
    """Return the picture out of focus."""
    return convolve_light(picture, disc(amount_at(amounts.DEFOCUS, strength) * scale))


def motion_blur(picture: Image, scale: float, strength: float, rng: np.random.Generator) -> Image:
    """Return the picture blurred by a straight or curved motion."""
    bend = rng.uniform(-1.2, 1.2) if rng.random() < 0.4 else 0.0
    return convolve_light(picture, stroke(amount_at(amounts.MOTION, strength) * scale, rng.uniform(0, np.pi), bend))


# --- Noise -----------------------------------------------------------------------------------------------------------


def noise_field(shape: tuple[int, ...], size: float, colours: int, rng: np.random.Generator) -> Plane:
    """Return noise (H, W, colours) with mean 0 and grains `size` pixels wide."""
    height, width = (max(2, round(side / max(1.0, size))) for side in shape[:2])
    cv2.setRNGSeed(int(rng.integers(1 << 31)))
    field = np.empty((height, width, colours), np.float32)
    cv2.randn(field.reshape(height, -1), 0, 1)
    field = cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(field.reshape(*shape[:2], colours), np.float32)


def visible_deviation(field: Plane, scale: float) -> float:
    """Return the standard deviation of noise (H, W, colours) after scaling it as the service scales pictures."""
    size = tuple(max(1, round(side / scale)) for side in field.shape[1::-1])
    seen = Pillow.fromarray(np.ascontiguousarray(field[..., 0])).resize(size, Pillow.Resampling.BILINEAR)
    return float(np.asarray(seen).std())


def add_noise(picture: Image, scale: float, deviation: float, rng: np.random.Generator) -> Image:
    """Add noise of `deviation` grey levels (standard deviation in the network's view): grey, coloured or shot noise."""
    field = noise_field(picture.shape, scale * rng.uniform(0.6, 1.4), 1 if rng.random() < 0.35 else 3, rng)
    field *= deviation / visible_deviation(field, scale)
    if rng.random() < 0.4:  # shot noise grows with the square root of the light
        light = np.sqrt(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) + 8)[..., None]
        field = field * (light / light.mean())
    return np.clip(picture + field + 0.5, 0, 255).astype(np.uint8)


def noise(picture: Image, scale: float, strength: float, rng: np.random.Generator) -> Image:
    """Return the picture with noise."""
    return add_noise(picture, scale, amount_at(amounts.NOISE, strength), rng)


# --- Blocks ----------------------------------------------------------------------------------------------------------


def blocky(picture: Image, scale: float, strength: float, rng: np.random.Generator) -> Image:
    """Return the picture after strong compression at a small size, enlarged again.

    The compression is the stronger of the one at `strength` and the one whose error reaches BLOCKY_ERROR.
    """
    height, width = picture.shape[:2]
    factor = min(1.0, 8 / amount_at(amounts.BLOCK, rng.uniform()) / scale)
    small = even(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    video = rng.random() < 0.4
    while True:
        if video:
            coded = through_h264(small, round(amount_at(amounts.BLOCKY_QP, strength)), deblock=False)
        else:
            coded = through_jpeg(small, round(amount_at(amounts.BLOCKY_QUALITY, strength)))
        error = float(np.sqrt(np.mean((coded.astype(np.float32) - small) ** 2)))
        if error >= amounts.BLOCKY_ERROR or strength >= 1:
            break
        strength = min(1.0, strength + 0.25)
    method = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[rng.integers(3)]
    return np.asarray(cv2.resize(coded, (width, height), interpolation=method), dtype=np.uint8)


# --- Light -----------------------------------------------------------------------------------------------------------


def apply_curve(picture: Image, curve: NDArray[np.float64], rng: np.random.Generator) -> Image:
    """Return the picture mapped by a curve (256,) of grey levels, dithered against banding."""
    dither = rng.random(picture.shape, dtype=np.float32)
    return np.clip(cv2.LUT(picture, curve.astype(np.float32)) + dither, 0, 255).astype(np.uint8)


def too_dark(picture: Image, scale: float, strength: float, rng: np.random.Generator) -> Image:
    """Return the picture underexposed: light times a factor, sometimes with darker shadows."""
    curve = 255 * (np.arange(256) / 255) ** rng.uniform(1.0, 1.8)
    bright_level = np.percentile(np.interp(brightness(picture), np.arange(256), curve), 95)
    return apply_curve(picture, curve * amount_at(amounts.DARK, strength) / max(bright_level, 1), rng)


def too_bright(picture: Image, scale: float, strength: float, rng: np.random.Generator) -> Image:
    """Return the picture overexposed: light times a factor, clipped at white, sometimes with glare over the shadows."""
    curve = 255 * (np.arange(256) / 255) ** rng.uniform(0.5, 1.0)
    curve += rng.uniform(0, 0.6) * (255 - curve) if rng.random() < 0.4 else 0
    dark, middle = np.percentile(np.interp(brightness(picture), np.arange(256), curve), [10, 50])
    # A tenth of the picture stays below white, so that some of it remains visible.
    return apply_curve(
        picture, curve * min(amount_at(amounts.BRIGHT, strength) / max(middle, 1), 225 / max(dark, 1)), rng
    )


def blank(picture: Image, scale: float, strength: float, rng: np.random.Generator) -> Image:
    """Return an even colour with almost nothing of the picture, like a covered lens, a wall or the middle of a fade.

    `strength` goes from the most that may remain to nothing.
    """
    height, width = picture.shape[:2]
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.4 else np.full(3, rng.uniform(0, 255))
    if rng.random() < 0.3:
        colour = colour * rng.uniform(0, 0.15)  # black, or the dark red of a finger
    elif rng.random() < 0.15:
        colour = 255 - colour * rng.uniform(0, 0.1)
    corners = rng.uniform(-0.5, 0.5, (2, 2, 1)).astype(np.float32) * amounts.BLANK_GRADIENT * (1 - strength)
    background = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)[..., None] + colour
    if rng.random() < 0.5:
        low, high = np.percentile(brightness(picture), [5, 95])
        background = background + (picture - (low + high) / 2) * (
            amounts.BLANK_CONTRAST * (1 - strength) / max(high - low, 1)
        )
    return np.clip(background + rng.random(picture.shape, dtype=np.float32), 0, 255).astype(np.uint8)


def sharp(picture: Image, scale: float, strength: float, rng: np.random.Generator) -> Image:
    """Return the picture without a fault; `strength` sets the small blur that a sharp picture may have."""
    sigma = amounts.SHARP_BLUR * strength * scale
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8) if sigma > 0.15 else picture


FAULTS = {
    "sharp": sharp,
    "defocus": defocus,
    "motion_blur": motion_blur,
    "noise": noise,
    "blocky": blocky,
    "too_dark": too_dark,
    "too_bright": too_bright,
    "blank": blank,
}
assert tuple(FAULTS) == amounts.LABELS


def add_sensor_noise(picture: Image, rng: np.random.Generator) -> Image:
    """Add a little sensor noise in half of the cases; clean pictures are sharp too."""
    if rng.random() < 0.5:
        return picture
    deviation = rng.uniform(0, amounts.SHARP_NOISE)
    return np.clip(picture + deviation * noise_field(picture.shape, 1, 3, rng) + 0.5, 0, 255).astype(np.uint8)


def apply_fault(label: str, picture: Image, scale: float, strength: float, rng: np.random.Generator) -> Image:
    """Return the picture with the label's fault, and the blur and noise that any picture may have."""
    if label not in ("sharp", "defocus"):
        picture = sharp(picture, scale, rng.uniform(), rng)
    if label == "blocky":
        picture = add_sensor_noise(picture, rng)
    picture = FAULTS[label](picture, scale, strength, rng)
    return picture if label == "noise" else add_sensor_noise(picture, rng)
