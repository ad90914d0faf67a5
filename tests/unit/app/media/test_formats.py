import pytest

from app.errors import LimitExceeded, UnsupportedMedia
from app.media.formats import HEAD_BYTES, recognise
from app.media.types import Limits

TS = b"\x47" + bytes(187)


ANIMATED_WEBP = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02" + bytes(9)
ANIMATED_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + bytes(17) + b"\0\0\0\x08acTL\0\0\0\x05" + bytes(8)


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"\xff\xd8\xff\xe0", ("image", "JPEG")),
        (b"\x89PNG\r\n\x1a\n", ("image", "PNG")),
        (b"RIFF\0\0\0\0WEBPVP8 ", ("image", "WEBP")),
        (b"BM" + bytes(12) + b"\x28\0\0\0", ("image", "BMP")),
        (b"II*\0\x08\0\0\0", ("image", "TIFF")),
        (b"MM\0*\0\0\0\x08", ("image", "TIFF")),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ("image", "HEIF")),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", ("image", "HEIF")),
        (b"\0\0\0\x18ftypmif1\0\0\0\0avifmiaf", ("image", "AVIF")),
        (b"\0\0\0\x1cftyphevc\0\0\0\0msf1mif1heic", ("image", "HEIF")),
        (b"\0\0\0\x1cftyphevc\0\0\0\0msf1iso8hevc", ("video", "mov")),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1miaf", ("image", "AVIF")),
        (b"\0\0\0\x1cftypavis\0\0\0\0avifavis", ("video", "AVIF")),
        (ANIMATED_WEBP, ("video", "WEBP")),
        (ANIMATED_PNG, ("video", "PNG")),
        (ANIMATED_PNG.replace(b"\x05", b"\x01"), ("image", "PNG")),
    ],
    ids=lambda value: repr(value[:16]) if isinstance(value, bytes) else " ".join(value),
)
def test_a_picture_or_animation_is_recognised(head, form):
    assert recognise(head) == form


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"hello, this is text",
        bytes(4096),
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
        b"\xef\xbb\xbf\n#EXTM3U\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile other.mp4\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><MPD/>",
        b"PK\x03\x04",
        b"\x1f\x8b\x08\0",
        b"ID3\x04\0",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"BMW is a maker of cars",
        b"\0\0\0\x18ftypcrx \0\0\0\1",
        b"\x47 a letter G is no broadcast" + bytes(500),
        b"%PDF-1.7",
    ],
    ids=lambda head: repr(head[:16]),
)
def test_everything_else_is_refused(head):
    with pytest.raises(UnsupportedMedia):
        recognise(head)


def test_refusal_of_playlist_says_what_to_send_instead():
    with pytest.raises(UnsupportedMedia, match="send the video itself"):
        recognise(b"#EXTM3U\n")


@pytest.mark.parametrize("lead", [1, 50, 187, 1000, 12_000])
@pytest.mark.parametrize("size", [188, 192, 204])
def test_broadcast_that_starts_inside_a_packet(lead, size):
    packet = (bytes(4) + b"\x47" + bytes(187)) if size == 192 else b"\x47" + bytes(size - 1)
    head = (b"\x01" * lead + packet * 100)[:HEAD_BYTES]
    assert recognise(head) == ("video", "mpegts")


def test_few_sync_bytes_are_no_broadcast():
    with pytest.raises(UnsupportedMedia):
        recognise(b"\x01" * 50 + TS * 5 + b"\x01" * 2000)


LIMITS = Limits(max_pixels=1_000_000, max_frames=100, max_duration_s=10)


@pytest.mark.parametrize("size", [(1000, 1000), (320, 10), (10, 320)])
def test_sizes_within_the_limits_pass(size):
    assert LIMITS.check_size(*size) is None


@pytest.mark.parametrize("size", [(1001, 1000), (1, 65535), (65535, 1), (330, 10)])
def test_sizes_beyond_limits_are_named_in_error(size):
    with pytest.raises(LimitExceeded, match=f"{size[0]}x{size[1]}"):
        LIMITS.check_size(*size)


def test_length_is_limited_by_frames_and_by_seconds():
    LIMITS.check_length(100, 10.0)
    LIMITS.check_length(None, None)
    with pytest.raises(LimitExceeded, match="more than the 100 allowed"):
        LIMITS.check_length(101, 1.0)
    with pytest.raises(LimitExceeded, match="more than the 10 s allowed"):
        LIMITS.check_length(None, 10.1)
