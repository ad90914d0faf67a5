"""Calibration of a model on held-out files: the temperature of its scores, and a threshold for each label.

Truths come in two forms. Softmax: int (B,), the index of the one right label. Sigmoid: 0, 1 or bool (B, classes),
any number of right labels.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
HALVINGS = 60  # of the range of 1 / temperature: to the precision of a float
DEFAULT_THRESHOLD = 0.5  # of a label that no file has, so that nothing can be measured

Array = NDArray[np.float64]


def fit_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return the temperature T that minimises the negative log-likelihood of the truths under `logits / T`.

    Temperature scaling, Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. The loss is convex in 1 / T,
    so its derivative has one root, which bisection finds. Files that the model gets all right pull T towards 0, and
    T stays between MIN_TEMPERATURE and MAX_TEMPERATURE.

    Args:
        logits: float (B, classes), before softmax or sigmoid.
        targets: int (B,) for a softmax; 0 and 1 (B, classes) for independent sigmoids.

    Raises:
        ValueError: The shapes do not fit, a logit is not finite, or a target is no label.
    """
    z, truths = _checked(logits, targets)
    independent = np.ndim(targets) == 2
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        probabilities = _sigmoid(middle * z) if independent else _softmax(middle * z)
        slope = float(((probabilities - truths) * z).sum())  # of the loss, by 1 / T
        low, high = (low, middle) if slope > 0 else (middle, high)
    return 1 / math.sqrt(low * high)


def label_thresholds(scores: ArrayLike, targets: ArrayLike) -> list[float]:
    """Return the threshold of each label; a label passes at its threshold or above.

    A threshold lies halfway between the lowest score that passes and the highest that does not. It has the highest F1
    (harmonic mean of precision and recall); of equal ones it is the highest threshold. A label that no file has gets
    DEFAULT_THRESHOLD.

    Args:
        scores: Probabilities, float (B, classes), after the temperature.
        targets: int (B,), or 0 and 1 (B, classes).

    Raises:
        ValueError: The shapes do not fit, a score is not finite, or a target is no label.
    """
    values, truths = _checked(scores, targets)
    return [_threshold(column, truth > 0) for column, truth in zip(values.T, truths.T, strict=True)]


def _threshold(scores: Array, truths: NDArray[np.bool_]) -> float:
    if not truths.any():
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(truths[order])
    ends = np.flatnonzero(np.diff(ranked, append=-np.inf))  # equal scores pass together
    best = int(np.argmax(2 * right[ends] / (ends + 1.0 + truths.sum())))
    lowest = float(ranked[ends[best]])
    below = float(ranked[ends[best] + 1]) if best + 1 < len(ends) else 0.0
    return (lowest + below) / 2


def _checked(values: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """Return values and truths, both float64 (B, classes), the truths 0 or 1."""
    array, truths = np.asarray(values, np.float64), np.asarray(targets)
    if array.ndim != 2 or not array.size or truths.shape not in ((len(array),), array.shape):
        raise ValueError(
            f"scores {array.shape} and targets {truths.shape}: must be (B, classes), and (B,) or (B, classes)"
        )
    if not np.isfinite(array).all():
        raise ValueError("a score is not finite: the model is broken")
    if truths.ndim == 2:
        if not np.isin(truths, (0, 1)).all():
            raise ValueError("targets (B, classes) must be 0 or 1")
        return array, truths.astype(np.float64)
    classes = array.shape[1]
    if not np.issubdtype(truths.dtype, np.integer) or truths.min() < 0 or truths.max() >= classes:
        raise ValueError(f"targets (B,) must be integers from 0 to {classes - 1}")
    one_hot: Array = np.eye(classes)[truths]
    return array, one_hot


def _sigmoid(logits: Array) -> Array:
    result: Array = 0.5 * (1 + np.tanh(0.5 * logits))  # overflows nowhere, unlike 1 / (1 + exp(-x))
    return result


def _softmax(logits: Array) -> Array:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result
