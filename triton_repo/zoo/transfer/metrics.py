"""Figures of a model on held-out files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = 5

Scores = NDArray[np.float32]
Truths = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelFigures:
    """Figures of one label: files with it, and precision and recall from 0 to 1 (None if undefined)."""

    label: str
    files: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Figures:
    """Figures of a model on N files.

    Attributes:
        files: N.
        accuracy: Share of files whose best label is right (with several labels: one of the right ones).
        top_5: Share of files with a right label among the best five.
        mean_average_precision: Mean over the labels that have files of their average precision.
        labels: Figures of each label.
        confusion: Files by true label (row) and best label (column); None if files have several labels.
    """

    files: int
    accuracy: float
    top_5: float
    mean_average_precision: float
    labels: tuple[LabelFigures, ...]
    confusion: tuple[tuple[int, ...], ...] | None

    def of_labels_with_files(self) -> Figures:
        """Return the figures without the labels that no file has and that were given to none."""
        kept = [n for n, one in enumerate(self.labels) if one.files or one.precision is not None]
        confusion = self.confusion and tuple(tuple(self.confusion[n][m] for m in kept) for n in kept)
        return replace(self, labels=tuple(self.labels[n] for n in kept), confusion=confusion)

    def to_json(self) -> dict[str, Any]:
        """Return the figures for JSON output."""
        return asdict(self)


def measure(
    scores: Scores, truths: Truths, labels: Sequence[str], thresholds: Sequence[float] | None = None
) -> Figures:
    """Return the figures of scores.

    Args:
        scores: Probabilities float32 (N, classes).
        truths: bool (N, classes).
        labels: The labels in the order of the scores.
        thresholds: For files with several labels: a label is given if its score is not below. None for one label: the
            best label is given.
    """
    best = scores.argmax(axis=1)
    given = np.eye(len(labels), dtype=bool)[best] if thresholds is None else scores >= np.asarray(thresholds)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    confusion = None
    if thresholds is None:
        counts = np.zeros((len(labels), len(labels)), int)
        np.add.at(counts, (truths.argmax(axis=1), best), 1)
        confusion = tuple(tuple(int(count) for count in row) for row in counts)
    precisions = [_average_precision(scores[:, n], truths[:, n]) for n in range(len(labels)) if truths[:, n].any()]
    return Figures(
        len(scores),
        float(np.take_along_axis(truths, best[:, None], axis=1).mean()),
        float(np.take_along_axis(truths, order, axis=1).any(axis=1).mean()),
        float(np.mean(precisions)),
        tuple(_label_figures(label, given[:, n], truths[:, n]) for n, label in enumerate(labels)),
        confusion,
    )


def worst(scores: Scores, truths: Truths, count: int) -> list[int]:
    """Return the numbers of the files whose wrong label is furthest above their right one, worst first."""
    wrong = np.where(truths, -np.inf, scores).max(axis=1)
    right = np.where(truths, scores, -np.inf).max(axis=1)
    margins = wrong - right
    return [int(n) for n in np.argsort(-margins, kind="stable")[:count] if margins[n] > 0]


def _label_figures(label: str, given: Truths, true: Truths) -> LabelFigures:
    right = int((given & true).sum())
    return LabelFigures(
        label,
        int(true.sum()),
        right / int(given.sum()) if given.any() else None,
        right / int(true.sum()) if true.any() else None,
    )


def _average_precision(scores: Scores, true: Truths) -> float:
    ranked = true[np.argsort(-scores, kind="stable")]
    precisions = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precisions[ranked].mean())
