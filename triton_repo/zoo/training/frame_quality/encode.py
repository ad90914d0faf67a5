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
from triton_repo.zoo.training.frame_quality.defects import apply_fault
from triton_repo.zoo.training.frame_quality.scenes import MIN_PIXELS, detailed, well_lit

SIZES = ((320, 240), (640, 360), (1280, 720), (360, 640), (1080, 1080))
KINDS = ("png", "jpeg", "still video", "moving video")
FRAMES, FPS = 10, 24
TRAVEL_SHARE = 0.015  # part of the picture's width that a moving video travels: too slow to blur
RATE_FACTORS = (16, 23)  # libx264's rate factors of good files, because compression faults have their own label
MIN_FOOTAGE_PIXELS = 2.75  # least pixels of a video frame for each of the network's; photographs need MIN_PIXELS
MAX_TRIES = 200  # attempts to find a part of a scene that is suitable as 'sharp'


@dataclass(frozen=True)
class Sample:
    """One file to make; `strength` is the position in the label's range, `number` seeds the rest."""

    label: str
    size: tuple[int, int]
    kind: str
    strength: float
    number: int


def samples(per_label: int) -> list[Sample]:
    """Return `per_label` files of each label, evenly over its range, with alternating kinds and sizes."""
    variants = [(size, kind) for size in SIZES for kind in KINDS]
    rng = np.random.default_rng(0)
    result = []
    for j, label in enumerate(amounts.LABELS):
        # shuffled, so that no size gets only the easy amounts
        strengths = rng.permutation((np.arange(per_label) + 0.5) / per_label)
        for i in range(per_label):
            size, kind = variants[(i * 7) % len(variants)]
            result.append(Sample(label, size, kind, float(strengths[i]), i * len(amounts.LABELS) + j))
    return result


def sharp_frames(video: Path) -> Iterator[Image]:
    """Return the frames of the video, if they are so large that scaling removes the faults of lens, film and codec."""
    return (frame for frame in stills(video) if min(frame.shape[:2]) >= MIN_FOOTAGE_PIXELS * amounts.VIEW)


def crop_and_scale(scene: Image, width: int, height: int, min_pixels: float, rng: np.random.Generator) -> Image | None:
    """Return a random part of the scene scaled to the size, or None if the scene is too small.

    The part has at least `min_pixels` pixels for each pixel of the network's view.
    """
    scene_height, scene_width = scene.shape[:2]
    largest = min(scene_width / width, scene_height / height)
    smallest = min_pixels * amounts.VIEW / min(width, height)
    if smallest > largest:
        return None
    step = np.exp(rng.uniform(np.log(smallest), np.log(largest)))
    x, y = (int(rng.uniform(0, room)) for room in (scene_width - width * step, scene_height - height * step))
    part = scene[y : y + int(height * step), x : x + int(width * step)]
    method = cv2.INTER_AREA if step > 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (width, height), interpolation=method), dtype=np.uint8)


def random_view(scenes: list[Image], width: int, height: int, min_pixels: float, rng: np.random.Generator) -> Image:
    """Return a part of one of the scenes that is suitable as 'sharp'; raise ValueError if none is found."""
    for _ in range(MAX_TRIES):
        scene = scenes[rng.integers(len(scenes))]
        scene = np.rot90(scene) if height > width else scene  # rotated, to be large enough
        picture = crop_and_scale(np.ascontiguousarray(scene), width, height, min_pixels, rng)
        if picture is not None and detailed(picture, min(width, height) / amounts.VIEW) and well_lit(picture):
            return picture
    raise ValueError("the footage has no view with enough light and detail to see a fault")


def defective_frames(sample: Sample, scenes: list[Image], seed: int, min_pixels: float) -> Iterator[Image]:
    """Yield the frames of one sample; a picture has one."""
    rng = np.random.default_rng((seed, sample.number))
    width, height = sample.size
    travel = round(TRAVEL_SHARE * width) if sample.kind == "moving video" else 0
    wide_view = random_view(scenes, width + travel, height, min_pixels, rng)
    scale = min(sample.size) / amounts.VIEW
    frames = 1 if "video" not in sample.kind else FRAMES
    for frame in range(frames):
        left = travel * frame // frames
        noise_seed = frame if sample.label == "noise" else 0  # only noise changes from frame to frame
        frame_rng = np.random.default_rng((seed, sample.number, noise_seed))
        yield apply_fault(
            sample.label, np.ascontiguousarray(wide_view[:, left : left + width]), scale, sample.strength, frame_rng
        )


def encode_sample(sample: Sample, scenes: list[Image], seed: int, min_pixels: float = MIN_PIXELS) -> bytes:
    """Return the sample's file, which is the same for the same seed and scenes.

    The file shows at least `min_pixels` pixels of a scene for each pixel of the network's view.
    """
    frames = list(defective_frames(sample, scenes, seed, min_pixels))
    rng = np.random.default_rng((seed, sample.number, FRAMES))
    if "video" in sample.kind:
        return encode(np.stack(frames), FPS, int(rng.integers(RATE_FACTORS[0], RATE_FACTORS[1] + 1)))
    file = io.BytesIO()
    quality = int(rng.integers(amounts.SHARP_QUALITY[0], amounts.SHARP_QUALITY[1] + 1))
    Pillow.fromarray(frames[0]).save(file, sample.kind, quality=quality)
    return file.getvalue()
