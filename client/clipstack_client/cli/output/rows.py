"""Answers to several files as one row each, and the table of jobs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ...jobs import Job, Timeline
from ...models import Result
from ..inputs import STANDARD_INPUT
from ..runner import Outcome
from .formatting import clock, milliseconds, percent, plain, short_name
from .tables import score_bar
from .timeline_bar import colours

MAX_WIDTH = 120
UNKNOWN_NAME = 32  # width of names that are not known in advance
SHORT_ID = 8  # characters of a job's id that the tables show, and that commands accept
STATES = {"queued": "default", "running": "cyan", "done": "green", "failed": "red", "cancelled": "yellow"}
MAX_RESULT = 24
AGES = ((86400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True)
class Columns:
    """Widths of a row's columns in characters."""

    name: int
    label: int
    bar: int

    @classmethod
    def fit(cls, width: int, longest_name: int) -> Columns:
        """Return the columns of rows of `width` characters, for names of at most `longest_name`."""
        width = min(width, MAX_WIDTH)
        name = min(longest_name, max(12, width // 3))
        label = min(24, max(10, width // 5))
        return cls(name, label, max(0, min(24, width - name - label - 24)))


@dataclass(frozen=True)
class Names:
    """Names of the files in rows: without the folder that all are in, and at most `width` characters long."""

    folder: str
    width: int

    @classmethod
    def of(cls, names: Sequence[str] | None) -> Names:
        """Return the names for these files; None if they are not known in advance."""
        if names is None:
            return cls("", UNKNOWN_NAME)
        prefix = "" if STANDARD_INPUT in names else os.path.commonprefix(list(names))
        folder = prefix[: prefix.rfind(os.sep) + 1]
        return cls(folder, max(cell_len(name.removeprefix(folder)) for name in names))

    def shorten(self, name: str, width: int) -> Text:
        """Return a name that fills `width` characters."""
        text = Text(short_name(plain(name.removeprefix(self.folder)), width))
        text.truncate(width, pad=True)
        return text


@dataclass(frozen=True)
class Row:
    """One answer: name, best label, its score as number and bar, and the time."""

    outcome: Outcome
    names: Names

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = Columns.fit(options.max_width, self.names.width)
        name = self.names.shorten(self.outcome.file.shown, columns.name)
        label, share, bar, spent = Text(), "", Text(), ""
        if isinstance(self.outcome.answer, Result):
            label, share, bar, spent = _result_cells(self.outcome.answer, columns, options.ascii_only)
        elif isinstance(self.outcome.answer, Job):
            label, share, bar, spent = _job_cells(self.outcome.answer, columns, console.color_system is not None)
        label.truncate(columns.label, overflow="ellipsis", pad=True)
        bar.truncate(max(columns.bar, bar.cell_len), pad=True)
        line = Text.assemble(name, "  ", label, f"  {share:>6}  ", bar, (f"{spent:>9}", "dim"), no_wrap=True)
        line.rstrip()
        yield line


def _result_cells(result: Result, columns: Columns, ascii_only: bool) -> tuple[Text, str, Text, str]:
    best = result.predictions[0] if result.predictions else None
    label = Text(plain(", ".join(result.decision)) or "none", "bold green" if result.decision else "dim")
    spent = "cached" if result.cache == "hit" else f"{milliseconds(result.timing_ms.get('total', 0.0))} ms"
    if best is None:
        return label, "", Text(), spent
    return label, percent(best.score), Text(score_bar(best.score, columns.bar, ascii_only), label.style), spent


def _job_cells(job: Job, columns: Columns, colourful: bool) -> tuple[Text, str, Text, str]:
    """Return the label with the longest total time, its share of the video, a small timeline, and the time spent."""
    if job.state != "done" or job.timeline is None:
        return Text(job.state, STATES.get(job.state, "")), "", Text(f"job {plain(job.id)[:SHORT_ID]}"), ""
    label, share = main_label(job.timeline)
    bar = _small_timeline(job.timeline, columns.bar) if colourful else Text()
    spent = "cached" if job.cache == "hit" else f"{job.timing_s.get('running', 0.0):.1f} s"
    return Text(plain(label), "bold"), percent(share), bar, spent


def main_label(timeline: Timeline) -> tuple[str, float]:
    """Return the label with the longest total time and its share of the video, or `none` and 0."""
    for label, segments in timeline.tracks.items():
        return label, sum(part.end_s - part.start_s for part in segments) / (timeline.duration_s or 1.0)
    return "none", 0.0


def _small_timeline(timeline: Timeline, width: int) -> Text:
    bar, hues = Text(" " * width), colours(timeline)
    for segment in timeline.segments:
        start, end = (round(at / (timeline.duration_s or 1.0) * width) for at in (segment.start_s, segment.end_s))
        bar.stylize(Style(bgcolor=hues[segment.label]), start, end)
    return bar


class Rows:
    """Output with one row for each file; errors are printed elsewhere."""

    def __init__(self, console: Console, names: Names) -> None:
        self._console, self._names = console, names

    def show(self, outcome: Outcome) -> None:
        """Print the row of one answer."""
        if outcome.answer is not None:
            self._console.print(Row(outcome, self._names))


class JobsTable:
    """One line for each job: short id, state, age, result, length, model and file.

    A narrow terminal has fewer columns.
    """

    def __init__(self, jobs: Sequence[Job], now: datetime) -> None:
        self._jobs, self._now = jobs, now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left = ["job", "state", "age", "result"]
        left += ["length"] * (options.max_width >= 70) + ["model"] * (options.max_width >= 100)
        cells = [self._cells(job) for job in self._jobs]
        widths = {name: max(len(name), *(row[name].cell_len for row in cells)) for name in left}
        widths["result"] = min(widths["result"], MAX_RESULT)
        room = max(8, options.max_width - sum(widths.values()) - 2 * len(left))
        table = Table.grid(padding=(0, 2, 0, 0))
        for name in left:
            justify = "right" if name in ("age", "length") else "left"
            table.add_column(width=widths[name], justify=justify, no_wrap=True)  # type: ignore[arg-type]
        table.add_row(*(Text(name, "dim") for name in (*left, "file")))
        for job, row in zip(self._jobs, cells, strict=True):
            table.add_row(*(row[name] for name in left), short_name(plain(job.name), room))
        yield table

    def _cells(self, job: Job) -> dict[str, Text]:
        length = job.media.duration_s if job.media is not None else None
        return {
            "job": Text(plain(job.id)[:SHORT_ID]),
            "state": Text(job.state, style=STATES.get(job.state, "default")),
            "age": Text(age(job.created, self._now)),
            "result": Text(_job_result(job)),
            "length": Text("" if length is None else clock(length, tenths=False)),
            "model": Text(plain(job.model)),
        }


def _job_result(job: Job) -> str:
    if job.state == "running":
        return f"{job.progress.percent:.0f}%"
    if job.error is not None:
        return plain(job.error[0])
    if job.result is None:
        return "none" if job.state == "done" else ""
    label, share = job.result
    return plain(f"{label} {share:.0%}")


def age(created: str, now: datetime) -> str:
    """Return the time since `created` (ISO 8601) in its largest unit: `3 min`."""
    try:
        then = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return ""
    seconds = max(0.0, (now - (then if then.tzinfo else then.replace(tzinfo=timezone.utc))).total_seconds())
    for unit_s, unit in AGES:
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
