"""Timelines on a terminal: a coloured bar and a line for each segment."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ...jobs import Job, Segment, Timeline
from .formatting import (
    clock,
    human_bytes,
    job_progress,
    media_facts,
    percent,
    plain,
    seconds_spent,
    sent_instead,
    windows,
)
from .tables import NOTHING_PASSES, Indented

MAX_WIDTH = 100
MAX_LANES = 12
OVERLAP_S = 0.001  # times are rounded to milliseconds
# Eight light colours that differ on black and on white; a label keeps its colour through the whole bar.
COLOURS = ("#8dd3c7", "#fdb462", "#80b1d3", "#fb8072", "#b3de69", "#bebada", "#ffed6f", "#fccde5")


class TimelineBar:
    """Line of colours, with labels where they fit, above a line of times.

    If segments overlap, each label has a line of its own.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._colours = colours(timeline)
        self._lanes = lanes(timeline)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(10, min(MAX_WIDTH, options.max_width))
        plain_bar = console.color_system is None or options.ascii_only
        dot = "." if options.ascii_only else "·"
        for lane in self._lanes[:MAX_LANES]:
            yield self._line(lane, width, plain_bar, dot)
        if (rest := len(self._lanes) - MAX_LANES) > 0:
            yield Text(f"and {rest} more labels", style="dim")
        last = clock(self._timeline.duration_s or 1.0)
        yield Text("0:00.0" + last.rjust(width - 6), style="dim", no_wrap=True)

    def _line(self, segments: Sequence[Segment], width: int, plain_bar: bool, dot: str) -> Text:
        """Return the line of segments that do not overlap; dots fill the gaps between them."""
        duration_s = self._timeline.duration_s or 1.0
        line, at = Text(no_wrap=True), 0
        for segment in segments:
            start = max(at, min(width, round(segment.start_s / duration_s * width)))
            end = max(start, min(width, round(segment.end_s / duration_s * width)))
            line.append(dot * (start - at), "dim")
            line.append(_cell(segment.label, end - start, plain_bar), None if plain_bar else self._style(segment))
            at = end
        line.append(dot * (width - at), "dim")
        return line

    def _style(self, segment: Segment) -> Style:
        return Style(color="black", bgcolor=self._colours[segment.label])


def _cell(label: str, width: int, plain_bar: bool) -> str:
    """Return the label centred in its segment, where it fits; without colours, edges separate segments."""
    if width < 1:
        return ""
    room = width - 2
    label = plain(label)
    if len(label) > room:
        label = label[: room - 1] + "…" if room >= 4 and not plain_bar else ""
    if not plain_bar:
        return label.center(width)
    return "|" + (f" {label} " if label and len(label) + 2 < width else "").center(width - 1, "-")


def lanes(timeline: Timeline) -> list[Sequence[Segment]]:
    """Return all segments as one lane, or if any overlap a lane for each label."""
    pairs = zip(timeline.segments, timeline.segments[1:], strict=False)
    if any(after.start_s < before.end_s - OVERLAP_S for before, after in pairs):
        return list(timeline.tracks.values())
    return [timeline.segments]


def colours(timeline: Timeline) -> dict[str, str]:
    """Return a colour for each label, by longest total time first."""
    return {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(timeline.tracks)}


def segments_table(timeline: Timeline) -> Table:
    """Return a table with one line for each segment: start, end, length, label and score."""
    hues = colours(timeline)
    grid = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "right", "right", "right", "left", "right"):
        grid.add_column(justify=justify, no_wrap=True)
    grid.add_row(*(Text(name, style="dim") for name in (" ", "from", "to", "long", "label", "score")))
    for segment in timeline.segments:
        grid.add_row(
            Text("■", style=hues[segment.label]),
            clock(segment.start_s),
            clock(segment.end_s),
            Text(f"{segment.end_s - segment.start_s:.1f} s", style="dim"),
            Text(plain(segment.label), style="bold"),
            percent(segment.score),
        )
    return grid


def timeline_block(name: str, job: Job) -> RenderableType:
    """Return one job's facts, bar, segments and times."""
    facts = media_facts(job.media) if job.media is not None else human_bytes(job.bytes)
    if job.sent is not None:
        facts += " as sent"
    head = Text.assemble((plain(name), "bold"), "  ", (facts, "dim"))
    body: list[RenderableType] = []
    if job.timeline is not None and job.timeline.segments:
        body += [TimelineBar(job.timeline), segments_table(job.timeline)]
    elif job.timeline is not None and job.state == "done":
        body.append(Text(NOTHING_PASSES, style="bold"))
    body.append(Text(windows(job), style="dim"))
    body += [Text(line, style="dim") for line in _how(job)]
    return Group(head, Indented(Group(*body)))


def _how(job: Job) -> Sequence[str]:
    lines = [f"{seconds_spent(job) if job.state == 'done' else job_progress(job)} · job {plain(job.id)}"]
    if job.error is not None:
        lines.append(plain(f"{job.error[1]} ({job.error[0]})"))
    if job.sent is not None:
        lines.append(sent_instead(job.sent))
    return lines
