"""Only listed decoders run, for every stream of a file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from app.decoding.worker import probe
from app.errors import UnsupportedMedia
from app.media.formats import SOUND_CODECS, VIDEO_CODECS
from app.media.types import Limits, Source
from app.video import decode
from app.video.decord_reader import DecordReader
from app.video.packet_reader import PacketReader
from app.video.readers import open_reader
from tests.support.films import panning, write_video

LIMITS = Limits(36_000_000, 500_000, 14_400)
DANGEROUS = "magicyuv"  # CVE-2026-8461; the FFmpeg in decord2 3.4.0 has not got the fix


def whole(path: Path) -> Source:
    return Source(str(path), 0, path.stat().st_size)


def with_second_stream(path: Path, codec: str, pixels: str, first: str = "mjpeg") -> Path:
    """Write a film with a Motion JPEG stream, which decord reads, and a stream of another codec."""
    with av.open(str(path), "w") as output:
        streams = [output.add_stream(first, rate=10), output.add_stream(codec, rate=10)]
        for stream, kind in zip(streams, ("yuvj420p" if first == "mjpeg" else "yuv420p", pixels), strict=True):
            stream.width, stream.height, stream.pix_fmt = 64, 64, kind
        for stream in streams:
            for number, frame in enumerate(panning(10, 64, 64)):
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                picture.pts, picture.time_base = number, Fraction(1, 10)
                output.mux(stream.encode(picture))
            output.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["avi", "mov"])
def test_unlisted_codec_is_refused_before_decoding(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"film.{suffix}", panning(5, 64, 64), codec=DANGEROUS, pixels="gbrp")
    with pytest.raises(UnsupportedMedia, match="codec"):
        decode.probe(whole(path), LIMITS)


def test_decord_opens_no_unlisted_stream(tmp_path: Path) -> None:
    source = whole(with_second_stream(tmp_path / "film.mov", DANGEROUS, "gbrp"))
    media = probe(source, LIMITS)
    assert media.codec == "mjpeg"
    assert isinstance(open_reader(source, media, "mov", (224, 224)), PacketReader)


def test_decord_opens_file_whose_streams_are_all_listed(tmp_path: Path) -> None:
    source = whole(with_second_stream(tmp_path / "film.mov", "mpeg4", "yuv420p"))
    assert isinstance(open_reader(source, probe(source, LIMITS), "mov", (224, 224)), DecordReader)


def test_h264_uses_the_reader_that_skips_frames(tmp_path: Path) -> None:
    source = whole(with_second_stream(tmp_path / "film.mov", "mpeg4", "yuv420p", first="libx264"))
    assert isinstance(open_reader(source, probe(source, LIMITS), "mov", (224, 224)), PacketReader)


def test_ffmpeg_knows_every_listed_codec() -> None:
    known = {av.Codec(name, "r").canonical_name for name in av.codecs_available if _decodes(name)}
    assert known >= VIDEO_CODECS | SOUND_CODECS


def _decodes(name: str) -> bool:
    try:
        return av.Codec(name, "r").is_decoder
    except av.codec.codec.UnknownCodecError:
        return False
