"""Pictures and videos of real scenes with one fault of a known amount: what `frame_quality` is measured by."""

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
JOURNEY = 0.015  # of the picture's width, in the whole of a moving video: too slow to blur anything
RATE_FACTORS = (16, 23)  # libx264's, good files: what a bad one does is a label of its own
FOOTAGE_PIXELS = 2.75  # of a frame for each of the network's; photographs do with FEWEST_PIXELS
VIEWS = 200  # tries to find a part of a scene that can stand for 'sharp'


@dataclass(frozen=True)
class Sample:
    """One file to make; `part` is how far through the label's range its amount is, `number` seeds all the rest."""

    label: str
    size: tuple[int, int]
    kind: str
    part: float
    number: int


def samples(per_label: int) -> list[Sample]:
    """`per_label` files of each label: amounts evenly over its range, kinds and sizes in turn."""
    ways = [(size, kind) for size in SIZES for kind in KINDS]
    rng = np.random.default_rng(0)
    made = []
    for j, label in enumerate(amounts.LABELS):
        parts = rng.permutation((np.arange(per_label) + 0.5) / per_label)  # no size gets the easy ones
        for i in range(per_label):
            size, kind = ways[(i * 7) % len(ways)]
            made.append(Sample(label, size, kind, float(parts[i]), i * len(amounts.LABELS) + j))
    return made


def sharp_frames(video: Path) -> Iterator[Image]:
    """Frames of the video, if they are so large that what lens, film and codec did to them goes away with the size."""
    return (frame for frame in stills(video) if min(frame.shape[:2]) >= FOOTAGE_PIXELS * amounts.VIEW)


def cut(scene: Image, width: int, height: int, fewest: float, rng: np.random.Generator) -> Image | None:
    """A random part of the scene, of `fewest` pixels or more for each of the network's, scaled to the size; or None."""
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
    """A part of one of the scenes that can stand for 'sharp'; ValueError when none is found."""
    for _ in range(VIEWS):
        scene = scenes[rng.integers(len(scenes))]
        scene = np.rot90(scene) if height > width else scene  # on its side, to be large enough
        picture = cut(np.ascontiguousarray(scene), width, height, fewest, rng)
        if picture is not None and detailed(picture, min(width, height) / amounts.VIEW) and well_lit(picture):
            return picture
    raise ValueError("the footage has no view with enough light and detail to see a fault")


def spoiled(sample: Sample, scenes: list[Image], seed: int, fewest: float) -> Iterator[Image]:
    """The frames of one sample; a picture has one."""
    rng = np.random.default_rng((seed, sample.number))
    width, height = sample.size
    way = round(JOURNEY * width) if sample.kind == "moving video" else 0
    wide = view(scenes, width + way, height, fewest, rng)
    scale = min(sample.size) / amounts.VIEW
    frames = 1 if "video" not in sample.kind else FRAMES
    for frame in range(frames):
        left = way * frame // frames
        fresh = frame if sample.label == "noise" else 0  # all else stays the same from frame to frame
        of_frame = np.random.default_rng((seed, sample.number, fresh))
        yield fault(sample.label, np.ascontiguousarray(wide[:, left : left + width]), scale, sample.part, of_frame)


def file_of(sample: Sample, scenes: list[Image], seed: int, fewest: float = FEWEST_PIXELS) -> bytes:
    """The sample's file, the same for the same seed and scenes, which it shows `fewest` or more pixels of for each
    that the network sees."""
    frames = list(spoiled(sample, scenes, seed, fewest))
    rng = np.random.default_rng((seed, sample.number, FRAMES))
    if "video" in sample.kind:
        return encode(np.stack(frames), FPS, int(rng.integers(RATE_FACTORS[0], RATE_FACTORS[1] + 1)))
    file = io.BytesIO()
    quality = int(rng.integers(amounts.SHARP_QUALITY[0], amounts.SHARP_QUALITY[1] + 1))
    Pillow.fromarray(frames[0]).save(file, sample.kind, quality=quality)
    return file.getvalue()


__all__ = ["FOOTAGE_PIXELS", "KINDS", "SIZES", "Sample", "file_of", "samples", "sharp_frames"]
