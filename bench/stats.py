"""Statistics of comparisons: medians with spreads, and no ratio between sides with different answers."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple


class LabelsDiffer(Exception):
    """Two sides give the same clip different labels, so their speeds are not comparable."""


class NothingMeasured(Exception):
    """No figures to judge."""


class Spread(NamedTuple):
    """Median, minimum and maximum of some figures."""

    median: float
    least: float
    most: float
    turns: int

    def as_dict(self) -> dict[str, float]:
        """Return the rounded values for the file of results."""
        return {name: round(value, 4) for name, value in self._asdict().items()}


def spread(figures: Sequence[float | None]) -> Spread:
    """Return the spread of the figures, where None stands for a turn without a figure.

    Raises:
        NothingMeasured: There is no figure.
    """
    present = [figure for figure in figures if figure is not None]
    if not present:
        raise NothingMeasured("no turn gave a figure")
    return Spread(median(present), min(present), max(present), len(present))


def ratio(one: Sequence[float | None], other: Sequence[float | None], labels: Sequence[Mapping[str, str]]) -> Spread:
    """Return `one` over `other` turn by turn, because consecutive turns meet the same machine state.

    `labels` are for each side the label that it gave each clip.

    Raises:
        LabelsDiffer: The labels differ, or there are none.
        NothingMeasured: No turn has both figures.
    """
    require_same_labels(*labels)
    pairs = zip(one, other, strict=True)
    return spread([mine / theirs for mine, theirs in pairs if mine is not None and theirs])


def require_same_labels(*sides: Mapping[str, str]) -> None:
    """Raise LabelsDiffer unless all sides give the same clips the same labels."""
    if len(sides) < 2 or not all(sides):
        raise LabelsDiffer("a side has not said what it sees")
    first = dict(sides[0])
    for side in sides[1:]:
        if dict(side) != first:
            clips = sorted(clip for clip in first.keys() | side.keys() if first.get(clip) != side.get(clip))
            differences = "; ".join(f"{clip}: {first.get(clip)!r} and {side.get(clip)!r}" for clip in clips)
            raise LabelsDiffer(f"no ratio, for the labels differ: {differences}")


def compare(
    ours: Sequence[float | None], theirs: Sequence[float | None], labels: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Return both sides and their ratio for the file of results, or the reason for no ratio."""
    result: dict[str, Any] = {}
    for name, figures in (("ours", ours), ("theirs", theirs)):
        result[name] = spread(figures).as_dict() if any(figure is not None for figure in figures) else None
    try:
        result["ratio"] = ratio(ours, theirs, labels).as_dict()
    except (LabelsDiffer, NothingMeasured) as error:
        result["no_ratio"] = str(error)
    return result


def reasons(figures: Any) -> list[str]:
    """Return the errors and refused ratios anywhere in the figures, each reason once."""
    unique: dict[str, None] = {}
    if isinstance(figures, dict):
        if "error" in figures:
            unique[str(figures["error"])] = None
        if "labels differ" in str(figures.get("no_ratio", "")):
            unique[str(figures["no_ratio"])] = None
        for part in figures.values():
            unique |= dict.fromkeys(reasons(part))
    return list(unique)


def short_number(value: float) -> str:
    """Return the number with three digits, or as an integer from 1000 on."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
