"""Comparison of a model's engines with its source network, on random clips and on clips of real videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from triton_repo.backends.clip.clip_engines import Engine
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.export.openvino import TOLERANCE
from triton_repo.zoo.export.reference import Clips, Network, Scores


class Bound(NamedTuple):
    """How far a precision may change a clip's scores.

    `largest` limits the largest difference of a probability, `mean` its mean over clips. Each clip counts with its
    largest difference over all labels. docs/models.md has the measurements behind the figures.
    """

    largest: float
    mean: float


BOUNDS = {
    "f32": Bound(largest=TOLERANCE, mean=TOLERANCE),
    "f16": Bound(largest=0.05, mean=0.005),
    "bf16": Bound(largest=0.1, mean=0.02),
    "int8": Bound(largest=0.1, mean=0.02),
}
LEAST_TOP_1 = 0.99  # share of clips with the same best label
# A clip is a near-tie if its second label has more than this part of the best label's probability (logits less than 0.1
# apart): rounding decides which label wins. Near-ties count for scores, not for labels.
NEAR_TIE = 0.9


class ClipSet(NamedTuple):
    """Clips to compare on, each uint8 (1, T, H, W, 3), and their kind: "random" or "real"."""

    kind: str
    clips: Sequence[Clips]


@dataclass(frozen=True)
class AccuracyRow:
    """Accuracy of one engine in one precision over `clips` clips, `ties` of which are near-ties.

    `largest` and `mean` are over the clips' largest differences of a probability. `same` is the share of all clips with
    the same best label, `top_1` the share without near-ties.
    """

    engine: str
    precision: str
    kind: str
    clips: int
    ties: int
    largest: float
    mean: float
    same: float
    top_1: float

    @property
    def good(self) -> bool:
        """Return whether scores and labels match the source within the bounds of this precision."""
        bound = BOUNDS[self.precision]
        if not (self.largest <= bound.largest and self.mean <= bound.mean and self.top_1 >= LEAST_TOP_1):
            return False  # NaN is within no bound
        return self.precision == "f32" or self.ties < self.clips


def random_clips(shape: tuple[int, ...], count: int, seed: int) -> list[Clips]:
    """Return `count` clips uint8 (1, *shape) of random patches in varied light.

    A patch is from 2 pixels to a quarter of the frame wide.
    """
    rng = np.random.default_rng(seed)
    frames, height, width, _ = shape
    clips = []
    for _ in range(count):
        patch = int(rng.integers(2, max(3, height // 4 + 1)))
        moving = rng.integers(0, 2)  # the same patches in all frames, or new ones in each
        across = (frames if moving else 1, -(-height // patch), -(-width // patch), 3)
        light = rng.uniform(0.3, 1)
        patches = (rng.integers(0, 256, across) * light + rng.uniform(0, 255 * (1 - light), 3)).astype(np.uint8)
        frame_patches = patches.repeat(patch, axis=1).repeat(patch, axis=2)[:, :height, :width]
        clips.append(np.broadcast_to(frame_patches, shape)[None].copy())
    return clips


def compare(
    engines: Mapping[Variant, Engine], network: Network, sets: Sequence[ClipSet], tick: Callable[[], None]
) -> list[AccuracyRow]:
    """Return one row for each engine and clip set; call `tick` after each clip."""
    rows = []
    for kind, clips in sets:
        reference: list[Scores] = []
        answers: dict[Variant, list[Scores]] = {variant: [] for variant in engines}
        for clip in clips:
            reference.append(network(clip))
            for variant, engine in engines.items():
                answers[variant].append(engine.infer(clip))
            tick()
        expected = np.concatenate(reference)
        rows += [row(variant, kind, np.concatenate(scores), expected) for variant, scores in answers.items()]
    return rows


def row(variant: Variant, kind: str, scores: Scores, right: Scores) -> AccuracyRow:
    """Compare scores float32 (N, classes) with the reference scores `right`."""
    differences = np.abs(scores - right).max(axis=1)
    same = scores.argmax(axis=1) == right.argmax(axis=1)
    best = np.sort(right, axis=1)
    clear = best[:, -2] <= NEAR_TIE * best[:, -1] if right.shape[1] > 1 else np.ones(len(right), bool)
    top_1 = float(same[clear].mean()) if clear.any() else 1.0
    return AccuracyRow(
        *variant, kind, len(right), int((~clear).sum()), float(differences.max()), float(differences.mean()),
        float(same.mean()), top_1,
    )  # fmt: skip


__all__ = ["BOUNDS", "LEAST_TOP_1", "NEAR_TIE", "Bound", "AccuracyRow", "ClipSet", "compare", "random_clips", "row"]
