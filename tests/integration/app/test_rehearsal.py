"""Warm-up films: every decoder process, and its replacement, has read one with each reader."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.decoding import warmup
from app.decoding.pool import Decoder
from app.media.formats import recognise
from app.media.frames import scaled_size
from app.media.types import Limits
from app.sandbox import SandboxConfig
from app.video.decord_reader import DecordReader
from app.video.packet_reader import PacketReader
from app.video.probe import probe
from app.video.readers import open_reader
from tests.support.films import numbered, write_video
from tests.support.leaks import descendants
from tests.support.regions import whole
from tests.support.stacks import until

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)


@pytest.fixture
def decoder(tmp_path: Path) -> Iterator[Decoder]:
    decoder = Decoder(2, 20, LIMITS, SandboxConfig((str(tmp_path),), (), "best"))
    asyncio.run(decoder.start())
    yield decoder
    decoder.stop()


def warm_processes() -> set[int]:
    """Return our decoder processes that have read all films; a fresh fork of the server has read none."""
    return {pid for pid in descendants(os.getpid()) if held(pid) >= set(warmup.files())}


def held(pid: int) -> set[str]:
    links = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(os.readlink(path))
        except OSError:  # it was closed just now
            continue
    return {link.removeprefix("/memfd:").removesuffix(" (deleted)") for link in links}


@pytest.mark.parametrize(("name", "kind"), [("film.mp4", PacketReader), ("film.mov", DecordReader)])
def test_each_reader_has_a_warmup_film(tmp_path: Path, name: str, kind: type) -> None:
    path = tmp_path / name
    path.write_bytes(warmup.files()[name])
    source = whole(path)
    media, size = probe(source, LIMITS), scaled_size(warmup.WIDTH, warmup.HEIGHT, warmup.SIDE)
    reader = open_reader(source, media, recognise(path.read_bytes()[:4096]).name, size)
    assert type(reader) is kind
    assert len(list(reader.read(range(warmup.FRAMES[name])))) == warmup.FRAMES[name]


def test_decoder_that_has_started_is_warm_in_every_process(decoder: Decoder) -> None:
    assert (decoder.warm, decoder.cold) == (2, "")
    assert len(warm_processes()) == 2


def test_successor_of_killed_worker_takes_over_slots(decoder: Decoder, tmp_path: Path) -> None:
    before = warm_processes()
    os.kill(min(before), signal.SIGKILL)
    film = whole(write_video(tmp_path / "film.mp4", map(numbered, range(30))))

    def replaced() -> bool:
        assert asyncio.run(decoder.probe(film)).frames == 30
        return len(warm_processes() - before) >= 1 and len(warm_processes()) == 2

    until(replaced, 30)


def test_warmup_film_is_known_by_its_name(decoder: Decoder) -> None:
    media = asyncio.run(decoder.probe(warmup.source()))
    assert (media.codec, media.width, media.frames) == ("h264", warmup.WIDTH, warmup.FRAMES["film.mp4"])


def test_decoder_without_warmup_films_logs_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(warmup.files(), "film.mp4", warmup.files()["film.mp4"][:1000])
    decoder = Decoder(1, 20, LIMITS, SandboxConfig((str(tmp_path),), (), "best"))
    asyncio.run(decoder.start())
    try:
        assert decoder.warm == 0
        assert decoder.cold.startswith("its decoders cannot read film.mp4 of our own: ")
        film = whole(write_video(tmp_path / "film.mp4", map(numbered, range(30))))
        assert asyncio.run(decoder.probe(film)).frames == 30
    finally:
        decoder.stop()
