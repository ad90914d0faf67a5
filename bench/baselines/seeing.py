"""Sampling, decoding and normalisation that all baselines share, and classification by torch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import decord
import numpy as np
from numpy.typing import NDArray
from PIL import Image

NETWORKS = Path(__file__).resolve().parents[2] / ".runtime" / "bench" / "networks"
MODEL = os.environ.get("BASELINE_MODEL", "x3d_m")


def facts(name: str = MODEL) -> dict[str, Any]:
    """Return the model's input description, which bench/fixtures/networks.py writes beside the weights."""
    description: dict[str, Any] = json.loads((NETWORKS / name / "facts.json").read_text())
    return description


def frames(path: str, wanted: dict[str, Any]) -> NDArray[np.uint8]:
    """Return uint8 (T, crop, crop, 3) from the middle of a video, or (1, crop, crop, 3) of a picture."""
    if wanted["kind"] == "image":
        return _cut(np.asarray(_scaled(path, wanted["resize"]))[None], wanted["crop"])
    # decord needs the size before it can scale; one thread a reader, because there is one worker per core
    height, width, _ = decord.VideoReader(path, num_threads=1)[0].shape
    short = min(width, height)
    size = width * wanted["resize"] // short, height * wanted["resize"] // short
    video = decord.VideoReader(path, width=size[0], height=size[1], num_threads=1)
    return _cut(video.get_batch(numbers(len(video), video.get_avg_fps(), wanted)).asnumpy(), wanted["crop"])


def numbers(total: int, fps: float, wanted: dict[str, Any]) -> list[int]:
    """Return the numbers of frames `stride`/`fps` seconds apart, in the middle of the video."""
    step = wanted["stride"] * fps / wanted["fps"]
    start = int(max(0.0, total - 1 - (wanted["frames"] - 1) * step) / 2 + 1e-6)
    return [min(total - 1, int(start + number * step + 0.5 - 1e-6)) for number in range(wanted["frames"])]


def _scaled(path: str, resize: int) -> Image.Image:
    with Image.open(path) as picture:
        short = min(picture.size)
        size = picture.width * resize // short, picture.height * resize // short
        picture.draft("RGB", size)
        return picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)


def _cut(pixels: NDArray[np.uint8], crop: int) -> NDArray[np.uint8]:
    top, left = round((pixels.shape[1] - crop) / 2), round((pixels.shape[2] - crop) / 2)
    return np.ascontiguousarray(pixels[:, top : top + crop, left : left + crop])


def normalised(pixels: NDArray[np.uint8], wanted: dict[str, Any]) -> NDArray[np.float32]:
    """Return float32 (1, 3, T, crop, crop), or (1, 3, crop, crop) of a picture."""
    scaled = (pixels.astype(np.float32) / 255 - wanted["mean"]) / wanted["std"]
    ordered = scaled.transpose(3, 0, 1, 2)[None]
    return np.ascontiguousarray(ordered[:, :, 0] if wanted["kind"] == "image" else ordered)


def named(scores: NDArray[np.float32]) -> dict[str, Any]:
    """Return the answer of every baseline: the best label of (classes,) probabilities, and its score."""
    best = int(scores.argmax())
    return {"label": f"label {best}", "score": round(float(scores[best]), 6)}


class TorchClassifier:
    """Classifier by torch in this process: eager, float32, without gradients."""

    def __init__(self, threads: int = 0) -> None:
        import torch

        from bench.fixtures.networks import made

        if threads:
            torch.set_num_threads(threads)
        self._torch, self._wanted = torch, facts()
        self._network = made(MODEL).network

    def use_threads(self, count: int) -> None:
        """Set the number of torch's threads."""
        self._torch.set_num_threads(count)

    def warm_up(self) -> None:
        """Classify a blank clip."""
        spec = self._wanted
        self.scores(np.zeros((spec["frames"], spec["crop"], spec["crop"], 3), np.uint8))

    def scores(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (classes,) of one clip's frames."""
        with self._torch.inference_mode():
            clip = self._torch.from_numpy(normalised(pixels, self._wanted))
            probabilities: NDArray[np.float32] = self._network(clip)[0].softmax(0).numpy()
            return probabilities

    def classify(self, path: str) -> dict[str, Any]:
        """Return the best label of the file, and its score."""
        return named(self.scores(frames(path, self._wanted)))
