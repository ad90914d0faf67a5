"""The progress of uploads on a terminal: one line for each file that is on its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from client.upload import Progress, Watcher
from client.words import human_bytes, plain

BAR_WIDTH = 24
FRAMES_A_SECOND = 10
STAGES = {"sending": "uploading", "classifying": "classifying", "waiting": "busy, trying again soon"}


class UploadLines:
    """Lines below the results while files are on their way; nothing at all where `console` is no terminal.

    `line` is for the threads that upload; all the rest for the one thread that prints.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._numbers = count()
        self._under_way: dict[int, tuple[str, Progress]] = {}
        self._spinner = Spinner("dots", style="green")
        self._live: Live | None = None

    def __enter__(self) -> UploadLines:
        if self._console.is_terminal:
            # A new one each time: one that was stopped takes its old lines back, results and all.
            self._live = Live(
                get_renderable=self._table,
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
    def line(self, file: str) -> Iterator[Watcher]:
        """Show a line for `file` until its answer is there; yields what `Client.classify` calls."""
        number = next(self._numbers)

        def watch(progress: Progress) -> None:
            self._under_way[number] = (file, progress)

        try:
            yield watch
        finally:
            self._under_way.pop(number, None)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the lines away while something else is printed, whichever stream it goes to."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column()
        table.add_column(no_wrap=True, max_width=40)
        for _, (file, progress) in sorted(self._under_way.copy().items()):
            table.add_row(self._spinner, plain(file), *_columns(progress))
        return table


def _columns(progress: Progress) -> tuple[ProgressBar, Text, Text]:
    sent, total = progress.sent, progress.total
    bar = ProgressBar(total, sent, BAR_WIDTH, pulse=total is None, complete_style="green", finished_style="green")
    amount = human_bytes(sent) if total is None else f"{human_bytes(sent)} of {human_bytes(total)}"
    return bar, Text(amount, no_wrap=True), Text(STAGES[progress.stage], style="dim", no_wrap=True)
