"""Figures of an evaluation, as tables for the terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from triton_repo.zoo.transfer.metrics import Figures
from triton_repo.zoo.transfer.report import percent

MAX_ROWS, MAX_COLUMNS = 40, 12  # labels of the tables; the report has all
SHORT = 8  # characters of a label at the head of a column


def figures_table(figures: Figures) -> RenderableType:
    """Return a line with the figures, a table of the labels, worst first, and the confusion matrix if it fits."""
    line = Text(f"{figures.files} files: {figures.accuracy:.1%} right, {figures.top_5:.1%} among the best five")
    parts: list[RenderableType] = [line, Text(), _labels_table(figures)]
    if figures.confusion is not None and len(figures.labels) <= MAX_COLUMNS:
        labels = [one.label for one in figures.labels]
        parts += [Text(), _confusion_table(labels, figures.confusion)]
    return Group(*parts)


def _labels_table(figures: Figures) -> RenderableType:
    table = Table("label", box=None, pad_edge=False, header_style="dim")
    for column in ("files", "precision", "recall"):
        table.add_column(column, justify="right")
    ordered = sorted(figures.labels, key=lambda one: (one.recall is None, one.recall or 0.0))
    for one in ordered[:MAX_ROWS]:
        table.add_row(one.label, str(one.files), percent(one.precision), percent(one.recall))
    rest = len(ordered) - MAX_ROWS
    return Group(table, Text(f"and {rest} more labels, which are no worse", style="dim")) if rest > 0 else table


def _confusion_table(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> RenderableType:
    table = Table("right ↓ given →", box=None, pad_edge=False, header_style="dim")
    for label in labels:
        table.add_column(label[:SHORT], justify="right")
    for number, (label, row) in enumerate(zip(labels, confusion, strict=True)):
        cells = [Text(str(x or "·"), _style(x, number == column)) for column, x in enumerate(row)]
        table.add_row(label, *cells)
    return table


def _style(count: int, is_right: bool) -> str:
    if not count:
        return "dim"
    return "green" if is_right else "bold red"
