"""Damaged, forbidden and oversized files are refused with the error that fits."""

from pathlib import Path

import numpy as np
import pytest

from app.errors import LimitExceeded, NoVideoStream, Undecodable, UnsupportedMedia
from app.media.types import Limits
from app.video import decode
from app.video.probe import MAX_GIF_FRAMES
from tests.support.films import numbered, panning, write_sound, write_video
from tests.support.regions import Region, whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)


@pytest.fixture
def region(tmp_path) -> Region:
    return Region(tmp_path / "region")


def film(tmp_path: Path, suffix: str = "mp4", **options) -> bytes:
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(suffix, "libx264")
    return write_video(tmp_path / f"good.{suffix}", panning(60), codec=codec, **options).read_bytes()


def refused(tmp_path: Path, region: Region, data: bytes, error: type[Exception]) -> None:
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(error) as caught:
        decode.decode(whole(path), decode.probe(whole(path), LIMITS), region.request([i / 30 for i in range(0, 60, 5)]))
    assert str(tmp_path) not in caught.value.message
    assert "avcodec" not in caught.value.message


FASTSTART = {"movflags": "faststart"}


def test_a_file_without_its_index_is_undecodable(tmp_path, region):
    data = film(tmp_path)
    refused(tmp_path, region, data[: data.index(b"moov") - 4], Undecodable)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_mp4_is_undecodable(tmp_path, region, kept):
    data = film(tmp_path, container=FASTSTART)
    refused(tmp_path, region, data[: int(len(data) * kept)], Undecodable)


@pytest.mark.parametrize("damage", ["zeros", "half zeros", "noise"])
def test_damaged_pictures_in_a_sound_container_are_undecodable(tmp_path, region, damage):
    data = film(tmp_path, container=FASTSTART)
    start = data.index(b"mdat") + 4
    size = len(data) - start
    worse = {
        "zeros": bytes(size),
        "half zeros": data[start : start + size // 2] + bytes(size - size // 2),
        "noise": np.random.default_rng(0).bytes(size),
    }[damage]
    refused(tmp_path, region, data[:start] + worse, Undecodable)


@pytest.mark.parametrize("suffix", ["mkv", "webm", "ts", "avi"])
def test_truncated_stream_is_decoded_and_marked(tmp_path, region, suffix):
    data = film(tmp_path, suffix)
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: int(len(data) * 0.7) // 188 * 188 + 9])
    request = region.request([0.0, 0.2, 0.4])
    decoded = decode.decode(whole(path), decode.probe(whole(path), LIMITS), request)
    assert decoded.truncated
    assert 12 < decoded.total < 60
    assert decoded.frames == ((0, 6, 12),)


def test_an_encrypted_video_is_undecodable(tmp_path, region):
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "7" * 32, "encryption_kid": "a" * 32}
    refused(tmp_path, region, film(tmp_path, container=key), Undecodable)


def test_file_with_only_sound_is_refused(tmp_path):
    with pytest.raises(NoVideoStream):
        decode.probe(whole(write_sound(tmp_path / "sound.mp4")), LIMITS)


def test_playlist_is_refused_before_any_decoder_opens_it(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    with pytest.raises(UnsupportedMedia):
        decode.probe(whole(path), LIMITS)


def test_file_that_is_two_formats_at_once_is_refused(tmp_path):
    path = tmp_path / "film.mp4"
    broadcast = bytearray(4096)
    broadcast[::188] = b"\x47" * len(broadcast[::188])
    playlist = b"\nv=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"
    broadcast[1 : 1 + len(playlist)] = playlist
    path.write_bytes(broadcast)
    with pytest.raises((UnsupportedMedia, Undecodable)):
        decode.probe(whole(path), LIMITS)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(10_000, 1000, 60), "160x120"),
        (Limits(4_000_000, 29, 60), "more than the 29 allowed"),
        (Limits(4_000_000, 1000, 0.9), "more than the 0.9 s allowed"),
    ],
    ids=["pixels", "frames", "seconds"],
)
def test_size_and_length_limits(tmp_path, limits, says):
    path = write_video(tmp_path / "film.mp4", map(numbered, range(30)))
    with pytest.raises(LimitExceeded, match=says):
        decode.probe(whole(path), limits)


def test_a_gif_of_very_many_frames_is_refused(tmp_path):
    frames = [numbered(0, 16, 16), numbered(255, 16, 16)]
    many = (frames[n % 2] for n in range(MAX_GIF_FRAMES + 1))
    path = write_video(tmp_path / "film.gif", many, 100, codec="gif", pixels="rgb8")
    with pytest.raises(LimitExceeded, match="GIF"):
        decode.probe(whole(path), Limits(4_000_000, 500_000, 600))


def test_browser_recording_has_measured_and_limited_length(tmp_path, region):
    live = {"live": "1"}
    path = write_video(tmp_path / "film.mkv", map(numbered, range(30)), container=live)
    media, request = decode.probe(whole(path), LIMITS), region.request([0.0])
    decoded = decode.decode(whole(path), media, request, LIMITS)
    assert (decoded.total, decoded.duration_s) == (30, pytest.approx(1.0, abs=0.04))
    with pytest.raises(LimitExceeded, match="more than the 20 allowed"):
        decode.decode(whole(path), media, request, Limits(4_000_000, 20, 60))
    with pytest.raises(LimitExceeded, match="more than the 0.9 s allowed"):
        decode.decode(whole(path), media, request, Limits(4_000_000, 30, 0.9))


def test_index_with_too_many_frames_is_refused_unread(tmp_path):
    data = bytearray(film(tmp_path, options={"bf": "0"}))
    at = data.index(b"stts") + 12  # after the name: version and flags, the count of rows, then the first row
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    path = tmp_path / "bomb.mp4"
    path.write_bytes(data)
    with pytest.raises(Undecodable, match="claims more frames"):
        decode.probe(whole(path), LIMITS)


def test_the_real_corrupted_clip_is_undecodable(real_videos, tmp_path, region):
    source = whole(real_videos / "corrupted.mp4")
    media = decode.probe(source, LIMITS)
    with pytest.raises(Undecodable):
        decode.decode(source, media, region.request([media.duration_s / 2 + i / 30 for i in range(-14, 18, 4)]))
