"""Trains `camera_motion`: an X3D-XS-sized network that names the movement of the camera.

    .venv/bin/python -m triton_repo.zoo.training.camera_motion.train      # under an hour on two cores; resumes where it stopped
    .venv/bin/python -m triton_repo.zoo.training.camera_motion.train --steps 20 --output /tmp/trial
    .venv/bin/python -m triton_repo.zoo.training.camera_motion.train --photographs FOLDER    # and on your own pictures

Clips are procedural textures and photographs under a camera of known path, degraded the way real videos are: frame
rates, compression, noise, exposure, blur, and things that move by themselves. Same seed, same clips.
"""

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import IterableDataset

from triton_repo.zoo.architectures.builtin import WEIGHTS
from triton_repo.zoo.architectures.camera_motion import FPS, FRAMES, SIZE, STRIDE, CameraMotion
from triton_repo.zoo.training.camera_motion import scenes
from triton_repo.zoo.training.camera_motion.paths import LABELS, CameraPath, random_path
from triton_repo.zoo.training.camera_motion.render import stills
from triton_repo.zoo.training.loop import TrainingConfig, TrainingData, config_from_command_line, save_weights, train

MEAN, STD = 0.45, 0.225  # as in the released X3D checkpoints
EASY_STEPS = 600  # the share of degraded clips grows until this step, from which on all are degraded


class FramewiseDepthwise(nn.Conv3d):
    """Depthwise `nn.Conv3d` computed as a sum of 2-D convolutions of the frames, one for each step in time.

    Weights and results are the same. On a CPU in bfloat16 the backward pass is many times faster: only the 2-D
    depthwise convolution of stride 1 has a fast kernel. Stride 2 computes stride 1 and keeps every second result.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x` (B, C, T, H, W)."""
        batch, channels, time_steps, height, width = x.shape
        frames = x.permute(0, 2, 1, 3, 4).reshape(batch * time_steps, channels, height, width)
        half = self.kernel_size[0] // 2
        total: Tensor | None = None
        for shift in range(-half, half + 1):
            kernel = self.weight[:, :, shift + half]
            part = F.conv2d(frames, kernel, padding=self.padding[1:], groups=channels)  # type: ignore[arg-type]
            part = part[:, :, :: self.stride[1], :: self.stride[2]]
            part = part.reshape(batch, time_steps, *part.shape[1:])
            if shift > 0:
                part = F.pad(part[:, shift:], (0, 0, 0, 0, 0, 0, 0, shift))
            elif shift < 0:
                part = F.pad(part[:, :shift], (0, 0, 0, 0, 0, 0, -shift, 0))
            total = part if total is None else total + part
        assert total is not None
        return total.permute(0, 2, 1, 3, 4)


def frame_times(rng: np.random.Generator) -> np.ndarray:
    """Return the times in seconds of FRAMES frames at a stride of STRIDE at FPS, in a video of a random frame rate."""
    fps = rng.choice([15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 60.0])
    nominal = rng.uniform(0, 1 / fps) + np.arange(FRAMES) * STRIDE / FPS
    return np.asarray(np.round(nominal * fps) / fps)


def render_clip(scene: np.ndarray, path: CameraPath, rng: np.random.Generator, size: int) -> np.ndarray:
    """Return the path over a random part of the scene, uint8 (FRAMES, size, size, 3)."""
    view = rng.uniform(0.3, 0.85)
    centre = (float(rng.uniform(0.25, 0.75)), float(rng.uniform(0.25, 0.75)))
    return scenes.render(scene, path, size, size, view, centre)


def add_moving_object(clip: np.ndarray, scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add an object with its own motion in front of the camera, over at most about a fifth of the picture."""
    size = clip.shape[1]
    times = np.arange(FRAMES) * STRIDE / FPS
    path = random_path(LABELS[rng.integers(len(LABELS))], times, rng)
    other = render_clip(scene, path, rng, size)
    shape = np.zeros((scenes.SCENE_SIZE, scenes.SCENE_SIZE, 3), np.uint8)
    axes = tuple(int(v) for v in rng.uniform(0.08, 0.25, 2) * scenes.SCENE_SIZE)
    middle = tuple(int(v) for v in rng.uniform(0.3, 0.7, 2) * scenes.SCENE_SIZE)
    cv2.ellipse(shape, middle, axes, rng.uniform(0, 180), 0, 360, (255, 255, 255), -1)
    mask = scenes.render(shape, path, size, size, 0.95, (0.5, 0.5))
    return np.where(mask > 127, other, clip)


def resize_clip(clip: np.ndarray) -> np.ndarray:
    """Return the clip at SIZE x SIZE pixels, resized by area."""
    return np.stack([cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in clip])


def degrade(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Degrade a clip like lens, sensor and codec do; exposure changes are the same for all frames."""
    frames = clip.astype(np.float32)
    if rng.random() < 0.15:
        frames = frames.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    gain, lift = np.exp(rng.uniform(-0.9, 0.4)), rng.uniform(-40, 60)
    tint = np.exp(rng.uniform(-0.15, 0.15, 3))
    frames = (frames - 110) * gain * tint + 110 + lift
    if rng.random() < 0.5:
        frames += rng.standard_normal(frames.shape, dtype=np.float32) * rng.uniform(1, 12)
    frames = np.clip(frames, 0, 255).astype(np.uint8)
    blur = rng.uniform(0.4, 2.0) if rng.random() < 0.4 else 0.0
    quality = int(rng.integers(12, 92)) if rng.random() < 0.6 else 0
    degraded = np.empty((FRAMES, SIZE, SIZE, 3), np.uint8)
    method = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(3)]
    for i, frame in enumerate(frames):
        if blur:
            frame = cv2.GaussianBlur(frame, (0, 0), blur)
        if quality:
            encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            frame = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        cv2.resize(frame, (SIZE, SIZE), dst=degraded[i], interpolation=method)
    return degraded


class Clips(IterableDataset):  # type: ignore[type-arg]
    """Endless batches (uint8 (B, T, SIZE, SIZE, 3), int64 (B,)) with equally frequent labels.

    `step` is the training step of the first batch: before EASY_STEPS, fewer clips are degraded.
    """

    def __init__(
        self, seed: int, batch: int, photographs: list[scenes.Image], photograph_share: float, step: int
    ) -> None:
        self.seed, self.batch, self.step, self.share = seed, batch, step, photograph_share
        self.photographs = photographs

    def random_scene(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random photograph or texture."""
        if rng.random() >= self.share:
            return scenes.texture(rng)
        image = self.photographs[rng.integers(len(self.photographs))]
        if rng.random() < 0.5:
            image = image[:, ::-1]
        image = np.rot90(image, rng.integers(4)) if rng.random() < 0.5 else image
        return np.ascontiguousarray(image[:, :, rng.permutation(3)] if rng.random() < 0.3 else image)

    def clip(self, label: str, pool: list[np.ndarray], degraded_share: float, rng: np.random.Generator) -> np.ndarray:
        """Return a clip with this label of a scene from the pool; `degraded_share` is the probability of degrading it."""
        size = int(rng.integers(SIZE, 3 * SIZE))
        path = random_path(label, frame_times(rng), rng)
        clip = render_clip(pool[rng.integers(len(pool))], path, rng, size)
        if rng.random() < 0.35 * degraded_share:
            clip = add_moving_object(clip, pool[rng.integers(len(pool))], rng)
        return degrade(clip, rng) if rng.random() < degraded_share else resize_clip(clip)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        cv2.setNumThreads(0)
        rng = np.random.default_rng(self.seed)
        # Making a scene costs more than filming it, so each scene serves about four clips.
        pool = [self.random_scene(rng) for _ in range(4 * self.batch)]
        for step in itertools.count(self.step):
            degraded_share = min(1.0, step / EASY_STEPS)
            for _ in range(self.batch // 4):
                pool[rng.integers(len(pool))] = self.random_scene(rng)
            order = rng.permutation(np.arange(self.batch) + rng.integers(len(LABELS))) % len(LABELS)
            batch = np.stack([self.clip(LABELS[label], pool, degraded_share, rng) for label in order])
            yield torch.from_numpy(batch), torch.from_numpy(order)


def normalise(batch: Tensor) -> Tensor:
    """Return float (B, 3, T, H, W), channels last in memory, for uint8 (B, T, H, W, 3)."""
    scaled = (batch.permute(0, 4, 1, 2, 3).float() / 255 - MEAN) / STD
    return scaled.contiguous(memory_format=torch.channels_last_3d)


def training_data(config: TrainingConfig) -> TrainingData:
    """Return the training and held-out data of the configuration."""
    photographs = [scenes.photograph(name) for name in scenes.TRAINING_PHOTOGRAPHS]
    if config.photographs:
        photographs += [
            scenes.fit_scene(image) for path in sorted(config.photographs.iterdir()) for image in stills(path)
        ]
    easy = 0 if config.start else EASY_STEPS  # weights that were trained before need no easy start

    def batches(first: int) -> Clips:
        seed = config.seed + 1 + first
        return Clips(seed, config.batch, photographs, photograph_share=0.5, step=first + EASY_STEPS - easy)

    unseen = [scenes.photograph(name) for name in scenes.HELD_OUT_PHOTOGRAPHS]
    held_out = iter(Clips(config.seed, 50, unseen, photograph_share=1.0, step=EASY_STEPS))
    return TrainingData(batches, [next(held_out) for _ in range(4)], normalise, bfloat16=True)


def main() -> None:
    """Train the network that the command line configures and save its weights."""
    config = config_from_command_line(__doc__, "camera_motion", steps=1500, seed=20, peak_rate=4e-3, photographs=True)
    torch.manual_seed(config.seed)
    network = CameraMotion(depthwise=FramewiseDepthwise)
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    save_weights(train(config.load_start_weights(network), training_data(config), config), config.folder, WEIGHTS)


if __name__ == "__main__":
    main()
