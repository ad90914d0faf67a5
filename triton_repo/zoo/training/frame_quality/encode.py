"""Pictures and videos of real scenes with one fault of a known amount, which `frame_quality` is evaluated on."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from triton_repo.zoo.architectures import quality_labels as amounts
from triton_repo.zoo.training.camera_motion.render import encode, stills
from triton_repo.zoo.training.camera_motion.scenes import Image
from triton_repo.zoo.training.frame_quality.defects import fault
from triton_repo.zoo.training.frame_quality.scenes import FEWEST_PIXELS, detailed, well_lit

SIZES = ((320, 240), (640, 360), (1280, 720), (360, 640), (1080, 1080))
KINDS = ("png", "jpeg", "still video", "moving video")
FRAMES, FPS = 10, 24
JOURNEY = 0.015  # part of the picture's width that a moving video travels: too slow to blur
RATE_FACTORS = (16, 23)  # libx264's rate factors of good files, because compression faults have their own label
FOOTAGE_PIXELS = 2.75  # least pixels of a video frame for each of the network's; photographs need FEWEST_PIXELS
VIEWS = 200  # attempts to find a part of a scene that is suitable as 'sharp'


@dataclass(frozen=True)
class Sample:
    """One file to make; `part` is the position in the label's range, `number` seeds the rest."""

    label: str
    size: tuple[int, int]
    kind: str
    part: float
    number: int


def samples(per_label: int) -> list[Sample]:
    """Return `per_label` files of each label, evenly over its range, with alternating kinds and sizes."""
    variants = [(size, kind) for size in SIZES for kind in KINDS]
    rng = np.random.default_rng(0)
    result = []
    for j, label in enumerate(amounts.LABELS):
        # shuffled, so that no size gets only the easy amounts
        parts = rng.permutation((np.arange(per_label) + 0.5) / per_label)
        for i in range(per_label):
            size, kind = variants[(i * 7) % len(variants)]
            result.append(Sample(label, size, kind, float(parts[i]), i * len(amounts.LABELS) + j))
    return result


def sharp_frames(video: Path) -> Iterator[Image]:
    """Return the frames of the video, if they are so large that scaling removes the faults of lens, film and codec."""
    return (frame for frame in stills(video) if min(frame.shape[:2]) >= FOOTAGE_PIXELS * amounts.VIEW)


def cut(scene: Image, width: int, height: int, fewest: float, rng: np.random.Generator) -> Image | None:
    """Return a random part of the scene scaled to the size, or None if the scene is too small.

    The part has at least `fewest` pixels for each pixel of the network's view.
    """
    tall, wide = scene.shape[:2]
    largest = min(wide / width, tall / height)
    smallest = fewest * amounts.VIEW / min(width, height)
    if smallest > largest:
        return None
    step = np.exp(rng.uniform(np.log(smallest), np.log(largest)))
    x, y = (int(rng.uniform(0, room)) for room in (wide - width * step, tall - height * step))
    part = scene[y : y + int(height * step), x : x + int(width * step)]
    method = cv2.INTER_AREA if step > 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (width, height), interpolation=method), dtype=np.uint8)


def view(scenes: list[Image], width: int, height: int, fewest: float, rng: np.random.Generator) -> Image:
    """Return a part of one of the scenes that is suitable as 'sharp'; raise ValueError if none is found."""
    for _ in range(VIEWS):
        scene = scenes[rng.integers(len(scenes))]
        scene = np.rot90(scene) if height > width else scene  # rotated, to be large enough
        picture = cut(np.ascontiguousarray(scene), width, height, fewest, rng)
        if picture is not None and detailed(picture, min(width, height) / amounts.VIEW) and well_lit(picture):
            return picture
    raise ValueError("the footage has no view with enough light and detail to see a fault")


def spoiled(sample: Sample, scenes: list[Image], seed: int, fewest: float) -> Iterator[Image]:
    """Yield the frames of one sample; a picture has one."""
    rng = np.random.default_rng((seed, sample.number))
    width, height = sample.size
    travel = round(JOURNEY * width) if sample.kind == "moving video" else 0
    wide = view(scenes, width + travel, height, fewest, rng)
    scale = min(sample.size) / amounts.VIEW
    frames = 1 if "video" not in sample.kind else FRAMES
    for frame in range(frames):
        left = travel * frame // frames
        fresh = frame if sample.label == "noise" else 0  # only noise changes from frame to frame
        frame_rng = np.random.default_rng((seed, sample.number, fresh))
        yield fault(sample.label, np.ascontiguousarray(wide[:, left : left + width]), scale, sample.part, frame_rng)


def file_of(sample: Sample, scenes: list[Image], seed: int, fewest: float = FEWEST_PIXELS) -> bytes:
    """Return the sample's file, which is the same for the same seed and scenes.

    The file shows at least `fewest` pixels of a scene for each pixel of the network's view.
    """
    frames = list(spoiled(sample, scenes, seed, fewest))
    rng = np.random.default_rng((seed, sample.number, FRAMES))
    if "video" in sample.kind:
        return encode(np.stack(frames), FPS, int(rng.integers(RATE_FACTORS[0], RATE_FACTORS[1] + 1)))
    file = io.BytesIO()
    quality = int(rng.integers(amounts.SHARP_QUALITY[0], amounts.SHARP_QUALITY[1] + 1))
    Pillow.fromarray(frames[0]).save(file, sample.kind, quality=quality)
    return file.getvalue()


__all__ = ["FOOTAGE_PIXELS", "KINDS", "SIZES", "Sample", "file_of", "samples", "sharp_frames"]
