"""Trains `frame_quality`: a ResNet-18 of half the width that names what is wrong with a picture.

    .venv/bin/python -m triton_repo.zoo.training.frame_quality.train      # under an hour on two cores; resumes where it stopped
    .venv/bin/python -m triton_repo.zoo.training.frame_quality.train --steps 20 --output /tmp/trial

Pictures are procedural textures and photographs with one fault of a known amount, in files of every size and several
formats, scaled and cut by the service's own code. Same seed, same pictures.
"""

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.utils.data import IterableDataset

from app.images.decode import reduce_detail, render
from app.media.frames import centre_crop, scaled_size
from triton_repo.zoo.architectures import quality_labels as amounts
from triton_repo.zoo.architectures.builtin import QUALITY_WEIGHTS
from triton_repo.zoo.architectures.frame_quality import MEAN, STD, FrameQuality
from triton_repo.zoo.architectures.quality_labels import LABELS, SIZE, VIEW
from triton_repo.zoo.training.camera_motion.scenes import HELD_OUT_PHOTOGRAPHS, Image
from triton_repo.zoo.training.frame_quality.compression import even, h264_frame, through_h264, through_jpeg
from triton_repo.zoo.training.frame_quality.defects import apply_fault
from triton_repo.zoo.training.frame_quality.scenes import (
    TRAINING_PHOTOGRAPHS,
    Scenes,
    add_letterbox,
    adjust_light,
    detailed,
    random_part,
    well_lit,
)
from triton_repo.zoo.training.loop import (
    Batch,
    TrainingConfig,
    TrainingData,
    config_from_command_line,
    save_weights,
    train,
)

SMALL = 160  # side in pixels of the pictures in the first steps, which halves the work; amounts in pixels stay the same
SMALL_PART = 0.75  # part of the steps with small pictures
SIDES = (235, 1200)  # range of the files' short sides, where the whole view is seen
LETTERBOX_SHARE = 0.1  # share of the pictures
RECOMPRESSED = 0.4
MAX_FAULT_SCALE = 2.0  # largest scale at which faults are made; larger files are enlarged afterwards


def view_of_file(picture: Image, view: int, crop: int, rng: np.random.Generator) -> Image:
    """Return the picture, stored in a file, as the service shows it to a network: uint8 (crop, crop, 3)."""
    height, width = picture.shape[:2]
    size = scaled_size(width, height, view)
    chance = rng.random()
    if chance < 0.25:
        frame = h264_frame(even(picture), int(rng.integers(amounts.SHARP_QP[0], amounts.SHARP_QP[1] + 1)))
        return centre_crop(frame.to_ndarray(width=size[0], height=size[1], format="rgb24"), crop)
    if chance < 0.45:
        return centre_crop(render(Pillow.fromarray(picture), 1, size), crop)
    file = io.BytesIO()
    quality = int(rng.integers(amounts.SHARP_QUALITY[0], amounts.SHARP_QUALITY[1] + 1))
    Pillow.fromarray(picture).save(file, "JPEG", quality=quality)
    with Pillow.open(file) as opened:
        reduce_detail(opened, view)
        return centre_crop(render(opened, 1, size), crop)


def recompress(picture: Image, rng: np.random.Generator) -> Image:
    """Return the picture after JPEG or H.264 compression of good quality."""
    if rng.random() < 0.5:
        return through_jpeg(picture, int(rng.integers(amounts.SHARP_QUALITY[0], amounts.SHARP_QUALITY[1] + 1)))
    return through_h264(even(picture), int(rng.integers(amounts.SHARP_QP[0], amounts.SHARP_QP[1] + 1)))


@dataclass(frozen=True)
class PictureMix:
    """Composition of the batches.

    Attributes:
        photographs: Names of the bundled photographs.
        photograph_share: Probability of a photograph as the scene, in place of a texture or collage.
        large_from: First step with pictures of SIZE pixels; earlier ones have SMALL pixels.
        sharp_weight: Frequency of the label 'sharp' relative to each other label; it competes with all of them.
    """

    photographs: tuple[str, ...]
    photograph_share: float
    large_from: int
    sharp_weight: int = 1


class Pictures(IterableDataset):  # type: ignore[type-arg]
    """Endless batches (uint8 (B, H, W, 3), int64 (B,)), the first for training step `step`."""

    def __init__(self, seed: int, batch: int, step: int, mix: PictureMix) -> None:
        self.seed, self.batch, self.step, self.mix = seed, batch, step, mix
        self.slots = len(LABELS) - 1 + mix.sharp_weight

    def sharp_part(self, pool: list[Image], view: int, scale: float, rng: np.random.Generator) -> Image:
        """Return a lit part of a scene in the pool, with enough detail if 20 attempts find one."""
        for _ in range(20):
            picture = adjust_light(random_part(pool[rng.integers(len(pool))], view, scale, rng), rng)
            if detailed(picture, scale) and well_lit(picture):
                break
        # Uploaded pictures have mostly been compressed before.
        return recompress(picture, rng) if rng.random() < RECOMPRESSED else picture

    def picture(self, label: str, pool: list[Image], crop: int, rng: np.random.Generator) -> Image:
        """Return a picture with this label as the network sees it, uint8 (crop, crop, 3)."""
        view = round(crop * VIEW / SIZE)
        scale = np.exp(rng.uniform(np.log(SIDES[0]), np.log(SIDES[1]))) / VIEW
        fault_scale = min(scale, MAX_FAULT_SCALE)
        picture = apply_fault(label, self.sharp_part(pool, view, fault_scale, rng), fault_scale, rng.uniform(), rng)
        if scale > fault_scale:
            factor = scale / fault_scale
            picture = np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC))
        if label != "blank" and rng.random() < LETTERBOX_SHARE:
            picture = add_letterbox(picture, rng)
        return view_of_file(picture, view, crop, rng)

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(0)
        rng = np.random.default_rng(self.seed)
        scenes = Scenes(self.mix.photographs, self.mix.photograph_share, rng)
        pool = [scenes.next() for _ in range(2 * self.batch)]
        for step in itertools.count(self.step):
            crop = SMALL if step < self.mix.large_from else SIZE
            for _ in range(self.batch // 8):
                pool[rng.integers(len(pool))] = scenes.next()
            slots = rng.permutation(np.arange(self.batch) + rng.integers(self.slots)) % self.slots
            order = np.where(slots < len(LABELS), slots, LABELS.index("sharp"))
            batch = np.stack([self.picture(LABELS[label], pool, crop, rng) for label in order])
            yield torch.from_numpy(batch), torch.from_numpy(order)


def normalise(batch: Tensor) -> Tensor:
    """Return float (B, 3, H, W), channels last in memory, for uint8 (B, H, W, 3)."""
    scaled = (batch.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    return scaled.contiguous(memory_format=torch.channels_last)


def training_data(config: TrainingConfig) -> TrainingData:
    """Return the training and held-out data of the configuration."""

    def batches(first: int) -> Pictures:
        large_from = round(SMALL_PART * config.steps)
        mix = PictureMix(TRAINING_PHOTOGRAPHS, 0.5, large_from, sharp_weight=2)
        return Pictures(config.seed + 1 + first, config.batch, first, mix)

    held_out = iter(Pictures(config.seed, 40, 0, PictureMix(HELD_OUT_PHOTOGRAPHS, 1.0, large_from=0)))
    # Use float32: without native instructions bfloat16 is ten times slower.
    return TrainingData(batches, [next(held_out) for _ in range(5)], normalise, bfloat16=False)


def main() -> None:
    """Train the network that the command line configures and save its weights."""
    config = config_from_command_line(__doc__, "frame_quality", steps=1300, seed=30, peak_rate=3e-3)
    torch.manual_seed(config.seed)
    network = FrameQuality().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    save_weights(
        train(config.load_start_weights(network), training_data(config), config), config.folder, QUALITY_WEIGHTS
    )


if __name__ == "__main__":
    main()
