"""Comparison of a model's scores in one precision with its scores in f32, and the clips to compare on."""

from typing import NamedTuple

import numpy as np

from .interface import Clips, Scores


class Bound(NamedTuple):
    """How far a precision may change a clip's scores.

    `largest` limits the largest difference of a probability, `mean` its mean over clips. Each clip counts with its
    largest difference over all labels. docs/models.md has the measurements behind the figures.
    """

    largest: float
    mean: float


BF16_BOUND = Bound(largest=0.1, mean=0.02)
LEAST_TOP_1 = 0.99  # share of clips with the same best label
# A clip is a near-tie if its second label has more than this part of the best label's probability (logits less than 0.1
# apart): rounding decides which label wins. Near-ties count for scores, not for labels.
NEAR_TIE = 0.9
SIGMOID_LIMIT = 0.5


class Agreement(NamedTuple):
    """Comparison of scores with reference scores over `clips` clips, `ties` of which are near-ties.

    `largest` and `mean` are over the clips' largest differences of a probability. `same` is the share of all clips with
    the same best label, or of sigmoids the same true labels; `top_1` is the share without near-ties.
    """

    clips: int
    ties: int
    largest: float
    mean: float
    same: float
    top_1: float


def compare_scores(scores: Scores, reference: Scores, is_independent: bool = False) -> Agreement:
    """Compare scores float32 (N, classes) with the reference scores, of the same shape.

    Scores of sigmoids are independent: each label is true at SIGMOID_LIMIT or above, and "the same best label" means
    that the same labels are true. A label is a near-tie by its probabilities of being true and false; a clip is one if
    all its labels are.
    """
    differences = np.abs(scores - reference).max(axis=1)
    if is_independent:
        equal = (scores >= SIGMOID_LIMIT) == (reference >= SIGMOID_LIMIT)
        tied = np.minimum(reference, 1 - reference) > NEAR_TIE * np.maximum(reference, 1 - reference)
        same, same_or_tied, clear = equal.all(axis=1), (equal | tied).all(axis=1), ~tied.all(axis=1)
    else:
        same = same_or_tied = scores.argmax(axis=1) == reference.argmax(axis=1)
        best = np.sort(reference, axis=1)
        clear = best[:, -2] <= NEAR_TIE * best[:, -1] if reference.shape[1] > 1 else np.ones(len(reference), bool)
    top_1 = float(same_or_tied[clear].mean()) if clear.any() else 1.0
    return Agreement(
        len(reference), int((~clear).sum()), float(differences.max()), float(differences.mean()),
        float(same.mean()), top_1,
    )  # fmt: skip


def is_close(agreement: Agreement, bound: Bound) -> bool:
    """Return whether scores and labels are within the bounds; NaN is within none."""
    return agreement.largest <= bound.largest and agreement.mean <= bound.mean and agreement.top_1 >= LEAST_TOP_1


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
