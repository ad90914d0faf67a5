"""Progress and summary of `clipstack bulk`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ...bulk.source import Entry
from ...bulk.stats import Stats
from ..output.formatting import duration, human_bytes, plain

LINE_EVERY_S = 30.0  # where there is no terminal
MAX_CODES = 8


class BulkProgress:
    """Line with the files so far, their rate, the time left and the cost.

    On a terminal the line changes in place; elsewhere there is a new one every half minute. Nothing with `quiet`.
    """

    def __init__(self, console: Console, stats: Stats, *, quiet: bool) -> None:
        self._console, self._stats, self._quiet = console, stats, quiet
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._print_lines, daemon=True)
        self._live: Live | None = None

    def __enter__(self) -> BulkProgress:
        if self._quiet:
            return self
        if self._console.is_terminal:
            line = {"get_renderable": self._line, "transient": True, "refresh_per_second": 4}
            self._live = Live(console=self._console, redirect_stdout=False, redirect_stderr=False, **line)  # type: ignore[arg-type]
            self._live.start()
        else:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._live is not None:
            self._live.stop()
        elif self._thread.ident is not None:
            self._thread.join()

    def _print_lines(self) -> None:
        while not self._ended.wait(LINE_EVERY_S):
            self._console.print(self._line())

    def _line(self) -> RenderableType:
        return Text(progress_line(self._stats), "dim")


def progress_line(stats: Stats) -> str:
    """Return `1,204 of 5,000 files (12 with errors) · 85.2 files/s · 45 s left · 0.29 per hour of video`."""
    done = stats.resumed + stats.done
    errors = f" ({_number(stats.errors.total())} with errors)" if stats.errors else ""
    parts = [f"{_number(done)} of {_number(stats.files)} files{errors}", f"{stats.per_s:.1f} files/s"]
    if stats.eta_s is not None:
        parts.append(f"{duration(stats.eta_s)} left")
    return " · ".join([*parts, *filter(None, [stats.cost()])])


def bulk_summary(stats: Stats, *, complete: bool) -> RenderableType:
    """Return the result of a run: counts, rate, cost, and the errors by their codes."""
    rate = stats.done / max(stats.elapsed_s, 1e-3)
    words = [f"{_number(stats.done)} files in {duration(stats.elapsed_s)}", f"{rate:.1f} files/s"]
    if stats.resumed:
        words.append(f"{_number(stats.resumed)} done before")
    if not complete:
        words.append(f"{_number(stats.remaining)} not done: the same command continues")
    lines = [" · ".join([*words, *filter(None, [stats.cost()])])]
    if stats.errors:
        codes = ", ".join(f"{plain(code)} {_number(count)}" for code, count in stats.errors.most_common(MAX_CODES))
        lines.append(f"with errors: {codes}")
    return Text("\n".join(lines))


def estimate_table(entries: Sequence[Entry], stats: Stats, seconds: float, spread: float) -> Table:
    """Return the estimate for all files by the counts of a sample, as a table of two columns."""
    table = Table.grid(padding=(0, 2, 0, 0))
    low, high = (max(0.0, seconds * (1 + sign * spread)) for sign in (-1, 1))
    failed = f", {stats.errors.total()} with errors" if stats.errors else ""
    total_bytes = sum(entry.size or 0 for entry in entries)
    table.add_row("files", f"{_number(len(entries))}, {human_bytes(total_bytes)}")
    table.add_row("sample", f"{_number(stats.done)} files{failed}, {stats.done / stats.elapsed_s:.1f} files/s")
    table.add_row("time", f"{duration(seconds)} ({duration(low)} to {duration(high)})")
    if stats.video_s:
        table.add_row("video", duration(stats.video_s * len(entries) / stats.done))
    table.add_row("cost", stats.cost())
    if stats.price is not None:
        table.add_row("", f"{seconds / 3600 * stats.machines * stats.price:.2f} in all")
    return table


def _number(value: int) -> str:
    return f"{value:,}"
