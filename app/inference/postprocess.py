"""Scores to names: the average over clips, and the best few of it."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class Prediction(TypedDict):
    label: str
    score: float


def average(scores: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean of the clips' scores: a list of (classes,) to (classes,)."""
    return np.asarray(np.mean(scores, axis=0), dtype=np.float32)


def top(scores: NDArray[np.float32], labels: tuple[str, ...], count: int) -> list[Prediction]:
    """The `count` best labels of `scores` (classes,), best first; all of them when there are fewer."""
    best = np.argsort(-scores, kind="stable")[:count]
    return [Prediction(label=labels[i], score=round(float(scores[i]), 6)) for i in best]
