"""Holds a model that was added against the network it came from, on random clips."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from triton_repo.backends.clip.clip_engines import EngineError, load_engine
from triton_repo.zoo.default_model import DEFAULTS
from triton_repo.zoo.downloads import sha256_of
from triton_repo.zoo.errors import ModelError
from triton_repo.zoo.export import TOLERANCE
from triton_repo.zoo.onnx_model import OnnxNetwork
from triton_repo.zoo.repository import Installed
from triton_repo.zoo.served import Served, ServedNetwork
from triton_repo.zoo.sources import ONNX, read_source

LARGEST_F32 = TOLERANCE  # difference of a probability
LEAST_TOP_1 = 0.99  # share of the clips on which both call the same label the best

Clips = NDArray[np.uint8]
Scores = NDArray[np.float32]
Network = Callable[[Clips], Scores]


@dataclass(frozen=True)
class Row:
    """How an engine of one precision compares over `clips` clips."""

    engine: str
    precision: str
    clips: int
    largest: float
    mean: float
    top_1: float

    @property
    def good(self) -> bool:
        """float32 must give the same scores; bf16, which rounds to three digits, the same labels."""
        return self.top_1 >= LEAST_TOP_1 and (self.precision != "f32" or self.largest <= LARGEST_F32)


def random_clips(shape: tuple[int, ...], count: int, seed: int) -> list[Clips]:
    """`count` clips uint8 (1, *shape), of patches from 2 pixels to a quarter of the frame, in other light each."""
    rng = np.random.default_rng(seed)
    frames, height, width, _ = shape
    clips = []
    for _ in range(count):
        patch = int(rng.integers(2, max(3, height // 4 + 1)))
        moving = rng.integers(0, 2)  # still patches, or new ones in each frame
        across = (frames if moving else 1, -(-height // patch), -(-width // patch), 3)
        light = rng.uniform(0.3, 1)
        patches = (rng.integers(0, 256, across) * light + rng.uniform(0, 255 * (1 - light), 3)).astype(np.uint8)
        whole = patches.repeat(patch, axis=1).repeat(patch, axis=2)[:, :height, :width]
        clips.append(np.broadcast_to(whole, shape)[None].copy())
    return clips


def source_network(model: Installed, weights: Path | None = None) -> tuple[str, Network]:
    """What runs the source, in words, and the source; ModelError when its file is gone or another."""
    source = read_source(model.served)
    if source is None:
        if model.name not in DEFAULTS:
            raise ModelError(f"nothing says what {model.name} was made from: it was not added by clipstack-models.")
        try:
            return "torch", _in_torch(DEFAULTS[model.name]())
        except OSError as error:
            raise ModelError(f"{error}.") from error
    file = weights or Path(source.weights)
    if not file.is_file():
        raise ModelError(f"{file}, which {model.name} was made from, is gone: say where it is with --weights.")
    if (digest := sha256_of(file)) != source.sha256:
        raise ModelError(
            f"{file} is not the file that {model.name} was made from: that one had the checksum {source.sha256}, "
            f"this one has {digest}."
        )
    if source.architecture == ONNX:
        return "the ONNX file", OnnxNetwork(file, source, len(model.labels))
    return "torch", _in_torch(source.network(model.labels, file))


def _in_torch(served: Served) -> Network:
    network = ServedNetwork(served).eval()

    def run(clips: Clips) -> Scores:
        with torch.inference_mode():
            scores: Scores = network(torch.from_numpy(clips)).numpy()
        return scores

    return run


def compare(
    model: Installed, network: Network, precisions: list[str], clips: list[Clips], tick: Callable[[], None]
) -> list[Row]:
    """One row for each precision, of the engine that the model's configuration names; `tick` after each clip."""
    engines = {}
    for precision in precisions:
        config = copy.deepcopy(model.config)
        config["parameters"]["precision"] = {"string_value": precision}
        try:
            engines[precision] = load_engine(config, model.served)
        except EngineError as error:
            raise ModelError(f"{model.name} cannot be served: {error}.") from error
    wanted, answers = [], {precision: [] for precision in precisions}  # type: ignore[var-annotated]
    for clip in clips:
        wanted.append(network(clip))
        for precision, engine in engines.items():
            answers[precision].append(engine.infer(clip))
        tick()
    name, right = model.parameters.get("engine", "openvino"), np.concatenate(wanted)
    return [_row(name, precision, np.concatenate(answers[precision]), right) for precision in precisions]


def _row(engine: str, precision: str, scores: Scores, right: Scores) -> Row:
    apart = np.abs(scores - right)
    same = float((scores.argmax(axis=1) == right.argmax(axis=1)).mean())
    return Row(engine, precision, len(right), float(apart.max()), float(apart.mean()), same)


__all__ = ["LARGEST_F32", "LEAST_TOP_1", "Row", "compare", "random_clips", "source_network"]
