"""Allowlist of containers and picture formats, recognised by their first bytes.

No decoder opens a file that is not on this list. FFmpeg would otherwise also read playlists and scripts, which open
other files and hosts.
"""

from typing import Literal, NamedTuple

from app.errors import UnsupportedMedia
from app.media import refused_formats

Kind = Literal["video", "image"]

HEAD_BYTES = 16 << 10  # bytes examined: MPEG-TS may begin after other bytes, the others need less
TS_PACKETS = (188, 192, 204)  # bytes of an MPEG-TS packet: plain, Blu-ray, with parity
TS_ROW = 8  # packets in a row that rule out chance


class Format(NamedTuple):
    """Format by the name of FFmpeg's demuxer for a video, of Pillow's plugin for pictures and their animations."""

    kind: Kind
    name: str


CODECS_TO_SEND = "H.264, HEVC, AV1, VP9 or ProRes"
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # header size in bytes after a BMP's first 14 bytes
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # an MP4 or QuickTime file starts with one

# Bytes that must all stand at their offsets; the first matching row wins
_SIGNATURES: tuple[tuple[tuple[tuple[int, bytes], ...], Format], ...] = (
    (((0, b"\xff\xd8\xff"),), Format("image", "JPEG")),
    (((0, PNG_HEAD),), Format("image", "PNG")),
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
    # Blu-ray has 4 more bytes a packet
    (((4, b"\x47"), (196, b"\x47"), (388, b"\x47")), Format("video", "mpegts")),
    *((((4, box),), Format("video", "mov")) for box in _BOXES),
    *((((0, b"BM"), (14, length.to_bytes(4, "little"))), Format("image", "BMP")) for length in _BMP_HEADERS),
    *((((0, magic),), Format("image", "TIFF")) for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)

# Codecs that are decoded, by FFmpeg's names: those of cameras, phones, browsers and editing. FFmpeg has hundreds
# more, of games and obsolete programs, that few maintain; docs/supply.md has one that was found to be dangerous.
VIDEO_CODECS = frozenset((
    "av1", "h261", "h263", "h263p", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "vp8", "vp9",
    "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "theora", "vp6", "vp6a", "vp6f", "wmv1", "wmv2", "wmv3",
    "cinepak", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "gif", "huffyuv", "png", "prores", "qtrle", "rawvideo", "svq1",
    "svq3", "utvideo",
))  # fmt: skip

# Sound is not used, but FFmpeg probes every stream when it opens a file
SOUND_CODECS = frozenset((
    "aac", "ac3", "alac", "amr_nb", "amr_wb", "dts", "eac3", "flac", "mp1", "mp2", "mp3", "opus", "truehd", "vorbis",
    "wmapro", "wmav1", "wmav2", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "nellymoser", "speex",
    "pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be",
    "pcm_s32le", "pcm_f32be", "pcm_f32le", "pcm_dvd", "pcm_bluray",
))  # fmt: skip

# Brands of an ISO base media file (ftyp) that contain pictures: ISO/IEC 23008-12, annex B; AV1 Image File Format
_AVIF_ANIMATIONS = (b"avis",)
_AVIF = (b"avif",)
_HEIF_TRACKS = (b"hevc", b"hevx", b"hevm", b"hevs", b"msf1")  # a track, and often a picture too
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"mif1")
_CAMERA_RAW = (b"crx ",)


def recognise(head: bytes) -> Format:
    """Return the format of a file from its first `HEAD_BYTES` bytes; raise UnsupportedMedia if it is not allowed."""
    if head[4:8] == b"ftyp" and (format_ := _format_from_brands(head)):
        return format_
    for signature, candidate in _SIGNATURES:
        if all(head.startswith(magic, offset) for offset, magic in signature):
            return _animation(candidate, head)
    if message := refused_formats.message_for(head):
        raise UnsupportedMedia(message)
    if ts_start(head) is not None:
        return Format("video", "mpegts")
    raise UnsupportedMedia(refused_formats.message_for_unknown(head))


def _format_from_brands(head: bytes) -> Format | None:
    """Return the picture format that the brands of an ISO base media file name, or None for a video."""
    end = int.from_bytes(head[:4], "big")
    major, minor = head[8:12], [head[offset : offset + 4] for offset in range(16, min(end, len(head)), 4)]
    if major in _CAMERA_RAW:
        raise UnsupportedMedia(refused_formats.CAMERA_RAW)
    if major not in (*_AVIF_ANIMATIONS, *_AVIF, *_HEIF, *_HEIF_TRACKS):
        return None
    if major in _AVIF_ANIMATIONS or (b"avis" in minor and major == b"msf1"):
        return Format("video", "AVIF")
    has_heif = any(brand in minor for brand in _HEIF[:-1])
    if major in _AVIF or (b"avif" in minor and not has_heif):
        return Format("image", "AVIF")
    if major in _HEIF_TRACKS and not has_heif and b"mif1" not in minor:
        return None  # only a track, which is read as an MP4
    return Format("image", "HEIF")


def _animation(candidate: Format, head: bytes) -> Format:
    """Return the video format if a PNG or WebP is an animation, otherwise `candidate`."""
    if candidate.name == "WEBP" and head[12:16] == b"VP8X" and len(head) > 20 and head[20] & 0x02:
        return Format("video", "WEBP")
    if candidate.name == "PNG" and is_animated_png(head):
        return Format("video", "PNG")
    return candidate


def is_animated_png(head: bytes) -> bool:
    """Return whether a PNG's first bytes announce an animation of several frames."""
    position = len(PNG_HEAD)
    while position + 8 <= len(head) and (name := head[position + 4 : position + 8]) not in (b"IDAT", b"IEND"):
        if name == b"acTL" and position + 20 <= len(head):
            return int.from_bytes(head[position + 8 : position + 12], "big") > 1
        position += 12 + int.from_bytes(head[position : position + 4], "big")
    return False


def ts_start(head: bytes) -> int | None:
    """Return the offset of the first MPEG-TS packet, or None; other bytes may come before it."""
    first = head.find(b"\x47")
    while first >= 0:
        for size in TS_PACKETS:
            sync_bytes = head[first : first + TS_ROW * size : size]
            if len(sync_bytes) == TS_ROW and sync_bytes.count(b"\x47") == TS_ROW:
                return max(0, first - 4) if size == 192 else first  # Blu-ray packets begin with a time of 4 bytes
        first = head.find(b"\x47", first + 1)
    return None


# Well-known codecs that are not decoded, by FFmpeg's names
_CODEC_NAMES = {
    "cfhd": "CineForm", "jpeg2000": "JPEG 2000", "jpegls": "JPEG-LS", "ljpeg": "lossless JPEG", "vvc": "H.266 (VVC)",
    "rv10": "RealVideo 1", "rv20": "RealVideo 2", "rv30": "RealVideo 3", "rv40": "RealVideo 4", "svq1": "Sorenson 1",
    "indeo2": "Indeo 2", "indeo3": "Indeo 3", "indeo4": "Indeo 4", "indeo5": "Indeo 5", "hap": "Hap",
    "magicyuv": "MagicYUV", "lagarith": "Lagarith", "fraps": "Fraps", "cavs": "AVS", "avs2": "AVS2", "avs3": "AVS3",
    "dirac": "Dirac", "vp7": "VP7", "vp4": "VP4", "vp5": "VP5", "tscc": "TechSmith", "tscc2": "TechSmith 2",
    "bmp": "BMP", "tiff": "TIFF", "webp": "WebP", "msvideo1": "Microsoft Video 1", "msrle": "Microsoft RLE",
    "prores_raw": "ProRes RAW", "evc": "MPEG-5 EVC", "lcevc": "LCEVC", "mss2": "Windows Media Screen 2", "apv": "APV",
    "8bps": "QuickTime Planar RGB", "rpza": "Apple Video", "smc": "Apple Graphics", "v210": "10-bit uncompressed",
    "flashsv": "Flash Screen Video", "flashsv2": "Flash Screen Video 2", "notchlc": "NotchLC",
}  # fmt: skip


def unsupported_codec(name: str) -> UnsupportedMedia:
    """Return the error for a video codec that is not decoded; `name` is FFmpeg's name, or empty."""
    display_name = _CODEC_NAMES.get(name, name)
    description = f"the codec {display_name}" if display_name else "an unknown codec"
    return UnsupportedMedia(f"the video uses {description}, which is not supported: send it as {CODECS_TO_SEND}")


_MIME_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "gif": "image/gif",
    "avi": "video/x-msvideo",
    "flv": "video/x-flv",
    "ogg": "video/ogg",
    "asf": "video/x-ms-asf",
    "mpeg": "video/mpeg",
    "mpegts": "video/mp2t",
    "mov": "video/mp4",  # browsers play QuickTime files only under this type
}


def mime_type(head: bytes) -> str:
    """Return the MIME type of a file from its first `HEAD_BYTES` bytes; raise UnsupportedMedia."""
    name = recognise(head).name
    if name == "matroska":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return _MIME_TYPES[name]
