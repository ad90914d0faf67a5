"""Decision: the labels of a model's scores that pass their thresholds, for one request.

A label passes at its threshold or above. The threshold is the request's `min_score`, else the model version's own for
the label, else 0.5 for a sigmoid. A softmax without thresholds has one label that passes: the best.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidParameter

ScoreKind = Literal["softmax", "sigmoid"]
SCORE_KINDS = ("softmax", "sigmoid")
SIGMOID_THRESHOLD = 0.5
Scores = NDArray[np.float32]
NONE = "none"  # decision if no label passes
SUGGESTIONS = 3  # similar labels in the error for an unknown one


@dataclass(frozen=True, slots=True)
class Selection:
    """A request's threshold for all labels, 0 to 1, and the labels that it asks about.

    `min_score` None stands for the model's own thresholds, empty `labels` for all but those in `exclude`.
    """

    min_score: float | None = None
    labels: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def indices(self, labels: Sequence[str]) -> NDArray[np.intp]:
        """Return the indices of the selected ones of a model's `labels`, ascending.

        Raises InvalidParameter if the model has no such label, or no label is left.
        """
        for parameter, names in (("labels", self.labels), ("exclude", self.exclude)):
            for name in names:
                if name not in labels:
                    raise InvalidParameter(f"{parameter}={name[:40]!r}: {_unknown(name, labels)}")
        selected = set(self.labels or labels) - set(self.exclude)
        if not selected:
            raise InvalidParameter("labels and exclude leave no label: ask about at least one")
        return np.array([index for index, label in enumerate(labels) if label in selected], np.intp)


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """Rule that decides which of a model's `labels` pass for one request.

    `indices` are those of the labels that the request asks about. `thresholds`, float64 (classes,), are None if the
    best label passes. With `is_independent` several labels may be true at a time (sigmoid).
    """

    labels: Sequence[str]
    indices: NDArray[np.intp]
    thresholds: NDArray[np.float64] | None
    is_independent: bool

    def passing(self, scores: Scores, digits: int = 6) -> NDArray[np.bool_]:
        """Return which labels pass, bool (n, classes), for scores (n, classes) rounded to `digits`, as answers are."""
        passing = np.zeros(scores.shape, np.bool_)
        selected = scores[:, self.indices]
        if self.thresholds is None:
            passing[np.arange(len(scores)), self.indices[selected.argmax(axis=1)]] = True
        else:
            rounded = np.round(selected.astype(np.float64), digits)
            passing[:, self.indices] = rounded >= self.thresholds[self.indices]
        return passing

    @property
    def max_passing(self) -> int:
        """Return the largest number of labels that can pass at a time."""
        if self.thresholds is None:
            return 1
        lowest = float(self.thresholds[self.indices].min())
        share = 1 / max(lowest, 1e-9)  # the scores of a softmax add up to 1
        return len(self.indices) if self.is_independent else min(len(self.indices), int(share) + 1)

    def decide(self, scores: Scores) -> list[str]:
        """Return the labels that pass for scores (classes,), best first."""
        return self.decide_all(scores[None])[0]

    def decide_all(self, scores: Scores, digits: int = 6) -> list[list[str]]:
        """Return the labels that pass for each row of scores (n, classes), best first."""
        passing = [np.flatnonzero(row) for row in self.passing(scores, digits)]
        ranked = [
            indices[np.argsort(-row[indices], kind="stable")] for row, indices in zip(scores, passing, strict=True)
        ]
        return [[self.labels[index] for index in indices] for indices in ranked]


def decision_rule(
    labels: Sequence[str], kind: str, thresholds: Sequence[float] | None, selection: Selection
) -> DecisionRule:
    """Return the rule of a request to a model with these labels.

    `kind` says whether the scores are those of a softmax or of sigmoids; `thresholds` are the model version's, one for
    each label, or none. Raises InvalidParameter as `Selection.indices`.
    """
    values: NDArray[np.float64] | None = None
    if selection.min_score is not None:
        values = np.full(len(labels), selection.min_score)
    elif thresholds:
        values = np.array(thresholds, np.float64)
    elif kind == "sigmoid":
        values = np.full(len(labels), SIGMOID_THRESHOLD)
    return DecisionRule(labels, selection.indices(labels), values, kind == "sigmoid")


def decision_json(labels: list[str]) -> list[str] | str:
    """Return a decision as the API shows it."""
    return labels or NONE


def _unknown(name: str, labels: Sequence[str]) -> str:
    lower = {label.lower(): label for label in labels}
    similar = difflib.get_close_matches(name.lower()[:200], lower, SUGGESTIONS, cutoff=0.6)
    hint = f"; did you mean {' or '.join(repr(lower[match]) for match in similar)}?" if similar else ";"
    return f"the model has no such label{hint} /v1/models lists its labels"
