"""Helpers for tests of the decoder pool: decode a good file, send signals to the processes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from app.decoding.pool import Decoder
from app.decoding.worker import DecodeTask
from app.media.types import Limits, Media, Source
from tests.support.films import read_number
from tests.support.leaks import descendants
from tests.support.regions import Region

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
TIMES = [n / 30 for n in (0, 5, 11, 20)]
FILM = Media("video", "mp4", "h264", 160, 120, 0, 1.0, 30.0, 30)
FOR_DECORD = replace(FILM, codec="mjpeg")


async def good(decoder: Decoder, film: Source, region: Region) -> None:
    """Decode a good file completely."""
    request = region.request(TIMES)
    decoded = await decoder.decode(DecodeTask(film, request))
    assert decoded.media == await decoder.probe(film)
    assert decoded.clips is not None and decoded.clips.frames == ((0, 5, 11, 20),)
    assert [read_number(frame) for frame in region.clips(request)[0]] == [0, 5, 11, 20]


async def writing(source: Source) -> BinaryIO:
    """Open a pipe for writing, as soon as a process has it open for reading."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return open(os.open(source.path, os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0)
        except OSError:
            assert time.monotonic() < deadline, "no process opened the pipe"
            await asyncio.sleep(0.01)


def kill_decoders(number: signal.Signals) -> None:
    for pid in decoder_pids():
        os.kill(pid, number)


async def nobody_reads(pipe: BinaryIO) -> None:
    deadline = time.monotonic() + 20
    with suppress(BrokenPipeError):
        while True:
            pipe.write(b"m")
            assert time.monotonic() < deadline, "a process still reads the pipe"
            await asyncio.sleep(0.01)


def decoder_pids() -> set[int]:
    """Return our processes with a decoder's limits: they may write no file."""
    pids = set()
    for pid in descendants(os.getpid()):
        try:
            limits = Path(f"/proc/{pid}/limits").read_text()
        except OSError:
            continue
        if limits[limits.index("Max file size") :].split()[3] == "0":
            pids.add(pid)
    return pids
