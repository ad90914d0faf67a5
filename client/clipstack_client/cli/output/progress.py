"""Progress on a terminal: one line for each file and one for all files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ...http.upload import Progress
from ...jobs import Job
from .formatting import human_bytes, job_progress, plain, plural, short_name

BAR_WIDTH = 20
NARROW, NAME_WIDTH = 100, 24
FRAMES_A_SECOND = 10
STAGES = {
    "preparing": "making it smaller",
    "sending": "uploading",
    "classifying": "waiting for the answer",
    "waiting": "busy, trying again soon",
}


class Line:
    """Progress line of one file; `show` shows the progress of its upload or job, or a message."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.now: Progress | Job | str = ""

    def show(self, now: Progress | Job | str) -> None:
        """Replace what the line shows."""
        self.now = now


class ProgressLines:
    """Progress lines below the results; nothing with `quiet`, or if `console` is not a terminal.

    `total` is the number of files, None if it is unknown; 1 hides the line about all files. `idle` is the text of that
    line while there is nothing to do.
    """

    def __init__(self, console: Console, total: int | None = 1, idle: str = "", *, quiet: bool = False) -> None:
        self.total, self.idle, self._quiet = total, idle, quiet
        self.finished = self.failed = 0
        self._console = console
        self._numbers = count()
        self._active: dict[int, Line] = {}
        self._spinner = Spinner("dots", style="green")
        self._live: Live | None = None

    def __enter__(self) -> ProgressLines:
        if self._console.is_terminal and not self._quiet:
            # A new Live each time: restarting a stopped one would erase lines of results.
            self._live = Live(
                get_renderable=self._lines,
                console=self._console,
                transient=True,
                refresh_per_second=FRAMES_A_SECOND,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @contextmanager
    def line(self, file: str) -> Iterator[Line]:
        """Show a line for `file` until the block ends."""
        number, line = next(self._numbers), Line(file)
        self._active[number] = line
        try:
            yield line
        finally:
            del self._active[number]

    def count(self, *, failed: bool) -> None:
        """Count one finished file."""
        self.finished += 1
        self.failed += failed

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the lines while the block prints something else."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _lines(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        name_width = NAME_WIDTH if self._console.width < NARROW else 2 * NAME_WIDTH
        for _, line in sorted(self._active.copy().items()):
            name = Text(short_name(plain(line.file), name_width), no_wrap=True)
            table.add_row(self._spinner, name, *_columns(line.now))
        if self.total == 1:
            return table
        return Group(table, self._overall())

    def _overall(self) -> RenderableType:
        failed = f", {self.failed} failed" if self.failed else ""
        if self.total is None:
            text = self.idle if not self._active else plural(len(self._active), "file") + " under way"
            return Text(f"{text} · {self.finished} done{failed}", style="dim")
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(self.total, self.finished, BAR_WIDTH * 2, complete_style="cyan", finished_style="cyan")
        grid.add_row(bar, Text(f"{self.finished} of {self.total} files{failed}", style="dim"))
        return grid


def _columns(now: Progress | Job | str) -> tuple[RenderableType, Text, Text]:
    if isinstance(now, str):
        return Text(""), Text(""), Text(now, style="dim", no_wrap=True)
    if isinstance(now, Job):
        percent = now.progress.percent
        return _bar(percent, 100, "cyan"), Text(f"{percent:.0f}%"), Text(job_progress(now), style="dim", no_wrap=True)
    sent, total = now.sent, now.total
    if now.stage == "preparing":
        amount = "" if not total else f"{sent / total:.0%}"
        return _bar(sent, total, "magenta"), Text(amount), Text(STAGES[now.stage], style="dim", no_wrap=True)
    amount = human_bytes(sent) if total is None else f"{human_bytes(sent)} of {human_bytes(total)}"
    return _bar(sent, total, "green"), Text(amount, no_wrap=True), Text(STAGES[now.stage], style="dim", no_wrap=True)


def _bar(done: float, total: float | None, style: str) -> ProgressBar:
    return ProgressBar(total, done, BAR_WIDTH, pulse=total is None, complete_style=style, finished_style=style)
