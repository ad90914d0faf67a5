"""Sampling, decoding and normalisation that all baselines share, and classification by torch."""

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


def input_spec(name: str = MODEL) -> dict[str, Any]:
    """Return the model's input description, which bench/fixtures/networks.py writes beside the weights."""
    description: dict[str, Any] = json.loads((NETWORKS / name / "facts.json").read_text())
    return description


def frames(path: str, spec: dict[str, Any]) -> NDArray[np.uint8]:
    """Return uint8 (T, crop, crop, 3) from the middle of a video, or (1, crop, crop, 3) of a picture."""
    if spec["kind"] == "image":
        return _crop(np.asarray(_scaled(path, spec["resize"]))[None], spec["crop"])
    # decord needs the size before it can scale; one thread a reader, because there is one worker per core
    height, width, _ = decord.VideoReader(path, num_threads=1)[0].shape
    short = min(width, height)
    size = width * spec["resize"] // short, height * spec["resize"] // short
    video = decord.VideoReader(path, width=size[0], height=size[1], num_threads=1)
    return _crop(video.get_batch(frame_numbers(len(video), video.get_avg_fps(), spec)).asnumpy(), spec["crop"])


def frame_numbers(total: int, fps: float, spec: dict[str, Any]) -> list[int]:
    """Return the numbers of frames `stride`/`fps` seconds apart, in the middle of the video."""
    step = spec["stride"] * fps / spec["fps"]
    start = int(max(0.0, total - 1 - (spec["frames"] - 1) * step) / 2 + 1e-6)
    return [min(total - 1, int(start + number * step + 0.5 - 1e-6)) for number in range(spec["frames"])]


def _scaled(path: str, resize: int) -> Image.Image:
    with Image.open(path) as picture:
        short = min(picture.size)
        size = picture.width * resize // short, picture.height * resize // short
        picture.draft("RGB", size)
        return picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)


def _crop(pixels: NDArray[np.uint8], crop: int) -> NDArray[np.uint8]:
    top, left = round((pixels.shape[1] - crop) / 2), round((pixels.shape[2] - crop) / 2)
    return np.ascontiguousarray(pixels[:, top : top + crop, left : left + crop])


def normalised(pixels: NDArray[np.uint8], spec: dict[str, Any]) -> NDArray[np.float32]:
    """Return float32 (1, 3, T, crop, crop), or (1, 3, crop, crop) of a picture."""
    scaled = (pixels.astype(np.float32) / 255 - spec["mean"]) / spec["std"]
    ordered = scaled.transpose(3, 0, 1, 2)[None]
    return np.ascontiguousarray(ordered[:, :, 0] if spec["kind"] == "image" else ordered)


def answer(scores: NDArray[np.float32], precision: str) -> dict[str, Any]:
    """Return the answer of every baseline: the best label of (classes,) probabilities, its score and the precision."""
    best = int(scores.argmax())
    return {"label": f"label {best}", "score": round(float(scores[best]), 6), "precision": precision}


class TorchClassifier:
    """Classifier by torch in this process: eager, without gradients, in float32, which is torch's default."""

    def __init__(self) -> None:
        import torch

        from bench.fixtures.networks import load_network

        if (precision := os.environ.get("BASELINE_PRECISION", "")) not in ("", "f32"):
            raise ValueError(f"torch calculates in f32 here, not in {precision}")
        self._torch, self._spec = torch, input_spec()
        self._network = load_network(MODEL).network

    @property
    def precision(self) -> str:
        """Return the precision of the loaded weights, in which torch calculates."""
        dtype = next(self._network.parameters()).dtype
        return {self._torch.float32: "f32", self._torch.bfloat16: "bf16"}[dtype]

    def warm_up(self) -> None:
        """Classify a blank clip."""
        spec = self._spec
        self.scores(np.zeros((spec["frames"], spec["crop"], spec["crop"], 3), np.uint8))

    def scores(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (classes,) of one clip's frames."""
        with self._torch.inference_mode():
            clip = self._torch.from_numpy(normalised(pixels, self._spec))
            probabilities: NDArray[np.float32] = self._network(clip)[0].softmax(0).numpy()
            return probabilities

    def classify(self, path: str) -> dict[str, Any]:
        """Return the answer to the file."""
        return answer(self.scores(frames(path, self._spec)), self.precision)
