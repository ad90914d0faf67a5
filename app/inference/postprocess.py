"""Postprocessing of scores: the mean over clips and the best labels."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class Prediction(TypedDict):
    """One label with its score."""

    label: str
    score: float


def average(scores: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean over clips: a list of float32 (classes,) becomes float32 (classes,)."""
    return np.asarray(np.mean(scores, axis=0), dtype=np.float32)


def top(scores: NDArray[np.float32], labels: tuple[str, ...], count: int) -> list[Prediction]:
    """Return the `count` best labels of `scores` (classes,), best first; all labels if there are fewer."""
    best = np.argsort(-scores, kind="stable")[:count]
    return [Prediction(label=labels[i], score=round(float(scores[i]), 6)) for i in best]
