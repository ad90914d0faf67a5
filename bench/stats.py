"""How a comparison is judged: medians with their spread, and no ratio between sides that do not answer alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple


class LabelsDiffer(Exception):
    """Two sides name different things in the same clip: how fast each is says nothing about the other."""


class NothingMeasured(Exception):
    """There is no figure to judge."""


class Spread(NamedTuple):
    """The median of some figures, the smallest and the largest of them."""

    median: float
    least: float
    most: float
    turns: int

    def facts(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in self._asdict().items()}


def spread(figures: Sequence[float | None]) -> Spread:
    """Raises NothingMeasured when there are none; None stands for a turn that gave no figure."""
    there = [figure for figure in figures if figure is not None]
    if not there:
        raise NothingMeasured("no turn gave a figure")
    return Spread(median(there), min(there), max(there), len(there))


def ratio(one: Sequence[float | None], other: Sequence[float | None], labels: Sequence[Mapping[str, str]]) -> Spread:
    """`one` over `other`, turn by turn: turns that followed one another met the same machine.

    `labels` holds for each side the label it gave each clip; raises LabelsDiffer unless they are the same and there is
    at least one, NothingMeasured when no turn has both figures.
    """
    same_labels(*labels)
    pairs = zip(one, other, strict=True)
    return spread([mine / theirs for mine, theirs in pairs if mine is not None and theirs])


def same_labels(*sides: Mapping[str, str]) -> None:
    """Raises LabelsDiffer unless all sides give the same clips the same labels."""
    if len(sides) < 2 or not all(sides):
        raise LabelsDiffer("a side has not said what it sees")
    first = dict(sides[0])
    for side in sides[1:]:
        if dict(side) != first:
            clips = sorted(clip for clip in first.keys() | side.keys() if first.get(clip) != side.get(clip))
            told = "; ".join(f"{clip}: {first.get(clip)!r} and {side.get(clip)!r}" for clip in clips)
            raise LabelsDiffer(f"no ratio, for the labels differ: {told}")


def compared(
    ours: Sequence[float | None], theirs: Sequence[float | None], labels: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Both sides and their ratio for the file of results; where there is none, the reason."""
    told: dict[str, Any] = {}
    for name, figures in (("ours", ours), ("theirs", theirs)):
        told[name] = spread(figures).facts() if any(figure is not None for figure in figures) else None
    try:
        told["ratio"] = ratio(ours, theirs, labels).facts()
    except (LabelsDiffer, NothingMeasured) as error:
        told["no_ratio"] = str(error)
    return told


__all__ = ["LabelsDiffer", "NothingMeasured", "Spread", "compared", "ratio", "same_labels", "spread"]
