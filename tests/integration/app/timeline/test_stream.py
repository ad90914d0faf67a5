"""A scan in its own process: its events, its ends, and messages that are refused."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import ClipstackError, NotReady, Undecodable
from app.media.types import Media, Source
from app.sandbox import SandboxConfig
from app.timeline.process import ScanFinished, Stream, _EventChecker, open_stream
from app.timeline.scan import Cut, ScanProgress, ScanSpec, ScanStarted, ScanTask, Window
from app.timeline.windows import Grid, Windows
from tests.support.decoders import decoder_pids, nobody_reads, writing
from tests.support.films import numbered, write_video
from tests.support.regions import Region, whole

GRID = Grid(4, 0.1, 0.25)
LOOK = ScanSpec(GRID, 0, 64, 64, 100)
FILM = Media("video", "mp4", "h264", 160, 120, 0, 1.0, 30.0, 30)
BEGIN = ScanStarted(Windows(GRID, 3), 1.0, 30, False)


class Slots:
    """A region in a file with enough slots."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def acquire(self, count: int) -> list[int]:
        return [0] * count

    def release(self, offset: int) -> None:
        pass


@pytest.fixture
def sweeping(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Run a function with a scan of a source."""
    region = Region(tmp_path / "region")

    def run(source: Source, use: Callable[[Stream], Any]) -> Any:
        async def scenario() -> Any:
            confinement = SandboxConfig((str(tmp_path),), (str(region.path),))
            async with open_stream(ScanTask(source, FILM, LOOK), Slots(region.path), 20, confinement) as stream:
                return await use(stream)

        return asyncio.run(scenario())

    yield run


async def collect(stream: Stream) -> list[Any]:
    return [event async for event, _ in stream.events()]


def test_events_of_a_whole_video_are_in_order(sweeping: Callable[..., Any], tmp_path: Path) -> None:
    film = whole(write_video(tmp_path / "film.mp4", map(numbered, range(30))))
    events = sweeping(film, collect)
    windows = [event for event in events if isinstance(event, Window)]
    assert isinstance(events[0], ScanStarted)
    assert [window.index for window in windows] == list(range(events[0].windows.count))


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGKILL, NotReady),
        (signal.SIGTERM, NotReady),
        (signal.SIGSEGV, Undecodable),
        (signal.SIGSYS, Undecodable),
    ],
)
def test_only_a_failure_of_its_own_scan_rejects_a_file(
    sweeping: Callable[..., Any], tmp_path: Path, number: signal.Signals, error: type[ClipstackError]
) -> None:
    os.mkfifo(tmp_path / "endless")
    endless = Source(str(tmp_path / "endless"), 0, 1_000_000)

    async def use(stream: Stream) -> None:
        events = asyncio.create_task(collect(stream))
        with await writing(endless) as pipe:
            for pid in decoder_pids():
                os.kill(pid, number)
            await nobody_reads(pipe)
        with pytest.raises(error):
            await events

    sweeping(endless, use)


def window(index: int, frames: tuple[int, ...] = (0, 3, 6, 9)) -> Window:
    return Window(index, frames, False)


@pytest.mark.parametrize(
    "events",
    [
        [window(0)],
        [ScanProgress(1.0)],
        [BEGIN, BEGIN],
        [BEGIN, window(1)],
        [BEGIN, window(0), window(0)],
        [BEGIN, window(0), window(1), window(2), window(3)],
        [BEGIN, window(0, (1, 2, 3))],
        [BEGIN, Cut(0.5), Cut(0.5)],
        [BEGIN, Cut(1e6)],
        [BEGIN, *(Cut(0.001 * number) for number in range(1000))],
        [ScanStarted(Windows(GRID, 101), 30.0, 900, False)],
        [ScanStarted(Windows(GRID, 0), 1.0, 30, False)],
        [ScanStarted(Windows(Grid(4, 0.1, 0.5), 3), 1.0, 30, False)],
        [BEGIN, (1, 2)],
        [None],
    ],
)
def test_invalid_scan_messages_are_refused(events: list[Any]) -> None:
    order = _EventChecker(LOOK)
    with pytest.raises(Undecodable):
        for event in events:
            order.check(event)


def test_valid_scan_messages_are_accepted() -> None:
    order = _EventChecker(LOOK)
    for event in (BEGIN, window(0), Cut(0.3), ScanProgress(0.4), window(1), Cut(0.5), window(2), ScanFinished(1.0)):
        order.check(event)
    _EventChecker(LOOK).check(Undecodable("damaged"))
