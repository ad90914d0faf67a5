"""The containers and picture formats that are let in, known by their first bytes.

No decoder opens a file that is not on this list: FFmpeg would otherwise also read playlists and scripts,
which open other files and hosts.
"""

from typing import Literal, NamedTuple

from app.errors import UnsupportedMedia

Kind = Literal["video", "image"]

HEAD_BYTES = 16 << 10  # how much of a file is looked at: MPEG-TS may begin after other bytes, the others need less
TS_PACKETS = (188, 192, 204)  # bytes of an MPEG-TS packet: plain, Blu-ray's, with parity
TS_ROW = 8  # packets in a row that are no chance


class Format(NamedTuple):
    """A format by the name of FFmpeg's demuxer for a video, of Pillow's plugin for a picture."""

    kind: Kind
    name: str


_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # an MP4 or QuickTime file starts with one

# Bytes that must all stand at their offsets; the first row that fits wins.
_SIGNATURES: tuple[tuple[tuple[tuple[int, bytes], ...], Format], ...] = (
    (((0, b"\xff\xd8\xff"),), Format("image", "JPEG")),
    (((0, b"\x89PNG\r\n\x1a\n"),), Format("image", "PNG")),
    (((0, b"RIFF"), (8, b"WEBP")), Format("image", "WEBP")),
    (((0, b"RIFF"), (8, b"AVI ")), Format("video", "avi")),
    (((0, b"\x1aE\xdf\xa3"),), Format("video", "matroska")),
    (((0, b"GIF87a"),), Format("video", "gif")),
    (((0, b"GIF89a"),), Format("video", "gif")),
    (((0, b"FLV\x01"),), Format("video", "flv")),
    (((0, b"OggS"),), Format("video", "ogg")),
    (((0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),), Format("video", "asf")),
    (((0, b"\x00\x00\x01\xba"),), Format("video", "mpeg")),
    (((0, b"\x47"), (188, b"\x47"), (376, b"\x47")), Format("video", "mpegts")),
    (
        ((4, b"\x47"), (196, b"\x47"), (388, b"\x47")),
        Format("video", "mpegts"),
    ),  # Blu-ray: 4 more bytes a packet
    *((((4, box),), Format("video", "mov")) for box in _BOXES),
)

# Codecs that are decoded, by FFmpeg's names: those of cameras, phones, browsers and editing. FFmpeg knows hundreds
# more, of games and of programs long gone, that few look after; docs/supply.md has one that was found to be dangerous.
VIDEO_CODECS = frozenset((
    "av1", "h261", "h263", "h263p", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "vp8", "vp9",
    "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "theora", "vp6", "vp6a", "vp6f", "wmv1", "wmv2", "wmv3",
    "cinepak", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "gif", "huffyuv", "png", "prores", "qtrle", "rawvideo", "svq1",
    "svq3", "utvideo",
))  # fmt: skip

# Nobody listens, but FFmpeg looks into every stream when it opens a file
SOUND_CODECS = frozenset((
    "aac", "ac3", "alac", "amr_nb", "amr_wb", "dts", "eac3", "flac", "mp1", "mp2", "mp3", "opus", "truehd", "vorbis",
    "wmapro", "wmav1", "wmav2", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "nellymoser", "speex",
    "pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be",
    "pcm_s32le", "pcm_f32be", "pcm_f32le", "pcm_dvd", "pcm_bluray",
))  # fmt: skip

_STILL_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1", b"avif", b"avis")

# Only for a message that helps: whatever fits no row above is refused anyway.
_REFUSED = (
    (b"#EXTM3U", "a playlist is not a video: send the video itself"),
    (b"ffconcat", "a list of files is not a video: send the video itself"),
    (b"v=0", "a session description is not a video: send the video itself"),
    (b"<", "text and vector graphics are not supported: send a video, a JPEG, a PNG or a WebP"),
    (b"PK", "an archive is not supported: send the video or picture inside it"),
    (b"\x1f\x8b", "compressed data is not supported: send the video or picture inside it"),
    (b"ID3", "a sound file has no picture to classify"),
    (b"fLaC", "a sound file has no picture to classify"),
)


def recognise(head: bytes) -> Format:
    """Name the format of a file by its first `HEAD_BYTES` bytes; raises UnsupportedMedia when not let in."""
    for marks, found in _SIGNATURES:
        if all(head.startswith(mark, offset) for offset, mark in marks):
            if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
                raise UnsupportedMedia("HEIC and AVIF are not supported: send a JPEG, a PNG or a WebP")
            return found
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, message in _REFUSED:
        if text.startswith(start):
            raise UnsupportedMedia(message)
    if _holds_ts(head):
        return Format("video", "mpegts")
    raise UnsupportedMedia("this is no video or picture format that is supported")


def _holds_ts(head: bytes) -> bool:
    """Whether MPEG-TS packets follow after some other bytes, as where a recording starts inside a packet."""
    first = head.find(b"\x47")
    while first >= 0:
        for size in TS_PACKETS:
            row = head[first : first + TS_ROW * size : size]
            if len(row) == TS_ROW and row.count(b"\x47") == TS_ROW:
                return True
        first = head.find(b"\x47", first + 1)
    return False


def sniff(head: bytes) -> Kind:
    """Tell video from image by the first `HEAD_BYTES` bytes; raises `UnsupportedMedia` for all else."""
    return recognise(head).kind


_MIME_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "gif": "image/gif",
    "avi": "video/x-msvideo",
    "flv": "video/x-flv",
    "ogg": "video/ogg",
    "asf": "video/x-ms-asf",
    "mpeg": "video/mpeg",
    "mpegts": "video/mp2t",
    "mov": "video/mp4",  # browsers play QuickTime files only under this name
}


def mime_type(head: bytes) -> str:
    """What a browser should take a file for, by its first `HEAD_BYTES` bytes; raises UnsupportedMedia."""
    name = recognise(head).name
    if name == "matroska":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return _MIME_TYPES[name]
