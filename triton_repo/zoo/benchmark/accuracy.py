"""Comparison of a model's engines with its source network, on random clips and on clips of real videos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from triton_repo.backends.clip.clip_engines import Engine
from triton_repo.backends.clip.clip_engines.accuracy import (
    BF16_BOUND,
    Agreement,
    Bound,
    compare_scores,
    is_close,
)
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.export.openvino import TOLERANCE
from triton_repo.zoo.export.reference import Clips, Network, Scores
from triton_repo.zoo.repository.int8_record import BOUND as INT8_BOUND

BOUNDS = {
    "f32": Bound(largest=TOLERANCE, mean=TOLERANCE),
    "f16": Bound(largest=0.05, mean=0.005),
    "bf16": BF16_BOUND,
    "int8": INT8_BOUND,
}


class ClipSet(NamedTuple):
    """Clips to compare on, each uint8 (1, T, H, W, 3), and their kind: "random" or "real"."""

    kind: str
    clips: Sequence[Clips]


@dataclass(frozen=True)
class AccuracyRow:
    """Accuracy of one engine in one precision over `clips` clips, `ties` of which are near-ties.

    `largest` and `mean` are over the clips' largest differences of a probability. `same` is the share of all clips with
    the same best label, `top_1` the share without near-ties. For sigmoids all labels at 0.5 or above must be the same.
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
        agreement = Agreement(self.clips, self.ties, self.largest, self.mean, self.same, self.top_1)
        return is_close(agreement, BOUNDS[self.precision]) and (self.precision == "f32" or self.ties < self.clips)


def compare(
    engines: Mapping[Variant, Engine],
    network: Network,
    sets: Sequence[ClipSet],
    tick: Callable[[], None],
    is_independent: bool = False,
) -> list[AccuracyRow]:
    """Return one row for each engine and clip set; call `tick` after each clip.

    `is_independent` says that the scores are those of sigmoids.
    """
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
        rows += [
            row(variant, kind, np.concatenate(scores), expected, is_independent) for variant, scores in answers.items()
        ]
    return rows


def row(variant: Variant, kind: str, scores: Scores, right: Scores, is_independent: bool = False) -> AccuracyRow:
    """Compare scores float32 (N, classes) with the reference scores `right`."""
    return AccuracyRow(*variant, kind, **compare_scores(scores, right, is_independent)._asdict())
