"""Leaving packets out changes no pixel: frames are the same as with every packet decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.media.formats import HEAD_BYTES, recognise
from app.media.types import Limits, Media, Source
from app.video import decode
from app.video.packet_reader import PacketReader
from app.video.packets import VideoPacket
from tests.support.films import panning, write_video
from tests.support.regions import whole

COUNT, SIZE = 72, (128, 96)
LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
X264 = "bframes=3:b-pyramid=normal:scenecut=0"
FILMS: dict[str, dict[str, Any]] = {
    "closed.mp4": {"options": {"x264-params": X264}, "gop": 12},
    "open.mp4": {"options": {"x264-params": f"{X264}:open-gop=1"}, "gop": 12},
    "long.mkv": {"options": {"x264-params": X264}, "gop": 250},
    "intra.mp4": {"gop": 1},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:pools=1:keyint=12:open-gop=0"}},
    "hevc_open.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none:pools=1:keyint=12"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "prores.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
}


class EveryPacket(PacketReader):
    skips = False


class Counted(PacketReader):
    """Count the packets that reach the decoder."""

    count = 0

    def _decode_needed(self, decoder: Any, packet: VideoPacket, stamp: int | None) -> Any:
        self.count += 1
        return super()._decode_needed(decoder, packet, stamp)


@pytest.fixture(scope="module", params=FILMS)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Media]:
    path = tmp_path_factory.mktemp("films") / request.param
    write_video(path, panning(COUNT, 160, 120), **FILMS[request.param])
    return whole(path), decode.probe(whole(path), LIMITS)


def read(reader: PacketReader, numbers: list[int]) -> list[Any]:
    return list(reader.read(numbers))


@pytest.mark.parametrize(
    "numbers",
    [[3, 4, 9, 30, 31], [0], [COUNT - 1], [11, 12, 13, 23, 24, 25], list(range(20, 52, 5)), [10, 71]],
    ids=str,
)
def test_frames_are_the_same_with_fewer_packets(film: tuple[Source, Media], numbers: list[int]) -> None:
    source, media = film
    demuxer = recognise(source.read(HEAD_BYTES)).name
    reader = Counted(source, demuxer, media, SIZE)
    frames = read(reader, numbers)
    np.testing.assert_array_equal(frames, read(EveryPacket(source, demuxer, media, SIZE), numbers))
    assert reader._skips, "no frame was missing"
    assert 0 < reader.count <= COUNT


def test_intra_only_decodes_only_wanted_frames(tmp_path: Path) -> None:
    for name in ("intra.mp4", "mjpeg.avi", "prores.mov"):
        path = write_video(tmp_path / name, panning(COUNT, 160, 120), **FILMS[name])
        reader = Counted(
            whole(path), recognise(path.read_bytes()[:HEAD_BYTES]).name, decode.probe(whole(path), LIMITS), SIZE
        )
        read(reader, [20, 25, 30, 60])
        assert reader.count == 4, name
