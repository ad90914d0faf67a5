"""Files to decode, a region to decode into, and a pool of decoders."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.decoding.pool import Decoder
from app.media.types import Source
from app.sandbox import MEMORY_BYTES, SandboxConfig
from tests.support.decoders import LIMITS
from tests.support.films import numbered, write_video
from tests.support.regions import Region, whole


@pytest.fixture
def region(tmp_path) -> Region:
    return Region(tmp_path / "region")


@pytest.fixture
def film(tmp_path) -> Source:
    return whole(write_video(tmp_path / "film.mp4", map(numbered, range(30))))


@pytest.fixture
def endless(tmp_path) -> Source:
    """A pipe without a writer: opening it blocks, like a decoder that hangs."""
    os.mkfifo(tmp_path / "endless")
    return Source(str(tmp_path / "endless"), 0, 1_000_000)


@pytest.fixture
def bomb(tmp_path) -> Source:
    """An MP4 whose table of times claims 2^31 frames: decord allocates memory for all of them and aborts."""
    path = write_video(tmp_path / "bomb.mov", map(numbered, range(30)), codec="mjpeg", pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 12
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(data)
    return whole(path)


@pytest.fixture
def decoding(tmp_path) -> Iterator[Callable[..., Any]]:
    """Run a coroutine function with a started decoder, which is stopped afterwards.

    It may read what lies in `tmp_path`, or in `folder`, and write into the regions that there are when it starts.
    """
    started = []

    def run(
        use: Callable[[Decoder], Coroutine[Any, Any, Any]],
        processes: int = 1,
        timeout_s: float = 20,
        memory_bytes: int = MEMORY_BYTES,
        folder: Path = tmp_path,
    ) -> Any:
        regions = tuple(map(str, tmp_path.glob("region*")))
        confinement = SandboxConfig((str(folder),), regions, "best", memory_bytes)
        decoder = Decoder(processes, timeout_s, LIMITS, confinement)
        started.append(decoder)

        async def start_and_use() -> Any:
            await decoder.start()
            return await use(decoder)

        return asyncio.run(start_and_use())

    yield run
    for decoder in started:
        decoder.stop()
