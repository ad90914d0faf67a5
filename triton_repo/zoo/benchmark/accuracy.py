"""Holds engines of a model against the network it came from, on random clips and on clips of real videos."""

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
    """How far a precision may move a clip's scores: the largest difference of a probability, and its mean over clips.

    The largest of each clip's labels counts. The figures behind them are in docs/models.md.
    """

    largest: float
    mean: float


BOUNDS = {
    "f32": Bound(largest=TOLERANCE, mean=TOLERANCE),
    "f16": Bound(largest=0.05, mean=0.005),
    "bf16": Bound(largest=0.1, mean=0.02),
    "int8": Bound(largest=0.1, mean=0.02),
}
LEAST_TOP_1 = 0.99  # share of the clips on which both call the same label the best
# Where the second best label has more than this part of the best one's probability (their logits less than 0.1 apart),
# which of them wins is a matter of rounding. The label of such a near-tie does not count; its scores do.
NEAR_TIE = 0.9


class ClipSet(NamedTuple):
    """Clips to compare on, uint8 (1, T, H, W, 3) each, and what they are in a word: "random", "real"."""

    kind: str
    clips: Sequence[Clips]


@dataclass(frozen=True)
class AccuracyRow:
    """How one engine in one precision compares over `clips` clips, of which `ties` are near-ties.

    `largest` and `mean` are over the clips' largest differences of a probability. `same` is the share of all clips on
    which both call the same label the best, `top_1` that without near-ties.
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
        """Return whether scores and labels are those of the source, as far as this precision can give them."""
        bound = BOUNDS[self.precision]
        if not (self.largest <= bound.largest and self.mean <= bound.mean and self.top_1 >= LEAST_TOP_1):
            return False  # NaN is within no bound
        return self.precision == "f32" or self.ties < self.clips


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


def compare(
    engines: Mapping[Variant, Engine], network: Network, sets: Sequence[ClipSet], tick: Callable[[], None]
) -> list[AccuracyRow]:
    """One row for each engine and set of clips; `tick` after each clip."""
    rows = []
    for kind, clips in sets:
        wanted: list[Scores] = []
        answers: dict[Variant, list[Scores]] = {variant: [] for variant in engines}
        for clip in clips:
            wanted.append(network(clip))
            for variant, engine in engines.items():
                answers[variant].append(engine.infer(clip))
            tick()
        right = np.concatenate(wanted)
        rows += [row(variant, kind, np.concatenate(scores), right) for variant, scores in answers.items()]
    return rows


def row(variant: Variant, kind: str, scores: Scores, right: Scores) -> AccuracyRow:
    """Compare scores float32 (N, classes) with those that are right."""
    apart = np.abs(scores - right).max(axis=1)
    same = scores.argmax(axis=1) == right.argmax(axis=1)
    best = np.sort(right, axis=1)
    clear = best[:, -2] <= NEAR_TIE * best[:, -1] if right.shape[1] > 1 else np.ones(len(right), bool)
    top_1 = float(same[clear].mean()) if clear.any() else 1.0
    return AccuracyRow(
        *variant, kind, len(right), int((~clear).sum()), float(apart.max()), float(apart.mean()),
        float(same.mean()), top_1,
    )  # fmt: skip


__all__ = ["BOUNDS", "LEAST_TOP_1", "NEAR_TIE", "Bound", "AccuracyRow", "ClipSet", "compare", "random_clips", "row"]
