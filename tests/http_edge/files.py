"""Bad files, and odd files that are valid; `folder` is for intermediate files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.support.films import corners, numbered, panning, write_sound, write_video

Maker = Callable[[Path], bytes]
FASTSTART = {"movflags": "faststart"}
SIMPLE = {"bf": "0"}


def film(folder: Path, suffix: str = "mp4", count: int = 60, **options: object) -> bytes:
    """Return a valid film; an MP4 has its tables before its frames."""
    container = FASTSTART if suffix == "mp4" else {}
    return write_video(
        folder / f"good.{suffix}", panning(count), options=SIMPLE, **{"container": container} | options
    ).read_bytes()  # type: ignore[arg-type]


def playlist(*addresses: str) -> bytes:
    segments = "".join(f"#EXTINF:1,\n{address}\n" for address in addresses)
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{segments}#EXT-X-ENDLIST\n".encode()


def concat(*addresses: str) -> bytes:
    return ("ffconcat version 1.0\n" + "".join(f"file '{address}'\n" for address in addresses)).encode()


def session(port: int) -> bytes:
    return f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n".encode()


def archive() -> bytes:
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("film.mp4", b"film")
    return file.getvalue()


def without_index(folder: Path) -> bytes:
    data = film(folder)
    start = data.index(b"moov") - 4
    return data[:start] + data[start + int.from_bytes(data[start : start + 4], "big") :]


def cut(folder: Path) -> bytes:
    data = film(folder)
    return data[: len(data) * 6 // 10]


def with_pictures(folder: Path, change: Callable[[bytes], bytes]) -> bytes:
    """Return a film whose coded frames were replaced."""
    data = film(folder)
    start = data.index(b"mdat") + 4
    return data[:start] + change(data[start:])


def half(pictures: bytes) -> bytes:
    return pictures[: len(pictures) // 2] + bytes(len(pictures) - len(pictures) // 2)


def noise(pictures: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(pictures))


def promising(folder: Path, table: bytes, at: int, count: int) -> bytes:
    """Return a film whose `table` claims `count` entries, `at` bytes behind its name."""
    data = bytearray(film(folder))
    start = data.index(table) + at
    data[start : start + 4] = count.to_bytes(4, "big")
    return bytes(data)


def another_codec(folder: Path) -> bytes:
    """Return a film that claims to be coded in EVC, for which FFmpeg has no decoder."""
    return film(folder).replace(b"avc1", b"evc1").replace(b"avcC", b"evcC")


def no_frames(folder: Path) -> bytes:
    """Return an MP4 whose video track is empty."""
    return Boxes(film(folder)).emptied()


def encrypted(folder: Path) -> bytes:
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "7" * 32, "encryption_kid": "a" * 32}
    return film(folder, container=key)


def cut_picture(folder: Path) -> bytes:
    data = encoded(Image.fromarray(numbered(5)), "JPEG")
    return data[: len(data) * 6 // 10]


def sound(folder: Path) -> bytes:
    return write_sound(folder / "sound.mp4").read_bytes()


def huge(folder: Path) -> bytes:
    """Return a picture of 8192x8192 pixels in a few KB."""
    frame = np.zeros((8192, 8192), np.uint8)
    path = folder / "huge.mov"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("png", rate=30, width=8192, height=8192, pix_fmt="gray")
        output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        output.mux(stream.encode(None))
    return path.read_bytes()


def too_many_frames(folder: Path) -> bytes:
    """Return an MP4 of 2.5 million frames, all of them the same one."""
    one = write_video(folder / "one.mp4", [corners(64, 48)], container=FASTSTART)
    return Boxes(one.read_bytes()).repeated(2_500_000)


def large_picture(width: int, height: int) -> bytes:
    """Return a black PNG of one bit per pixel."""
    rows = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    packed = b"".join(rows.compress(row * 1000) for _ in range(height // 1000)) + rows.compress(row * (height % 1000))
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed + rows.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def long_gif(count: int) -> bytes:
    """Return a GIF of `count` frames of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    picture = b"\x21\xf9\x04\0\x02\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return head + picture * count + b"\x3b"


def endless(folder: Path) -> bytes:
    """Return a film of one key frame of 20 megapixels and thousands that depend on it."""
    path, size = folder / "endless.mkv", (5000, 4000)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libvpx", rate=30, width=size[0], height=size[1], pix_fmt="yuv420p")
        stream.codec_context.thread_count = 1
        stream.gop_size = 10_000
        stream.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}
        picture = av.VideoFrame.from_ndarray(np.full((size[1] * 3 // 2, size[0]), 90, np.uint8), format="yuv420p")
        packets = []
        for number in range(2):
            picture.pts = number
            packets += stream.encode(picture)
        packets += stream.encode(None)
        key, leaning = (bytes(packet) for packet in packets)
        for number in range(6000):
            packet = av.Packet(leaning if number else key)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 30)
            packet.is_keyframe = number == 0
            output.mux(packet)
    return path.read_bytes()


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def one_frame(folder: Path) -> bytes:
    return write_video(folder / "one.mp4", [numbered(5)]).read_bytes()


def turned(folder: Path) -> bytes:
    lying = np.ascontiguousarray(np.rot90(corners(120, 160), 1))
    return write_video(folder / "turned.mov", [lying] * 40, rotation=90).read_bytes()


def cut_by_edits(folder: Path) -> bytes:
    """Return a film of 100 frames whose edit list hides the first 20."""
    pts = [33 * (number - 20) for number in range(100)]
    muxer = {"avoid_negative_ts": "disabled"}
    return write_video(folder / "cut.mp4", map(numbered, range(100)), pts=pts, container=muxer).read_bytes()


def equal_times(folder: Path) -> bytes:
    pts = [33 * (number // 2) for number in range(60)]
    return write_video(folder / "equal.mkv", map(numbered, range(60)), pts=pts, options=SIMPLE).read_bytes()


def in_cmyk() -> bytes:
    return encoded(Image.fromarray(corners(256, 256)).convert("CMYK"), "JPEG", quality=97)


def in_16_bits() -> bytes:
    grey = numbered(0b10110101, 256, 256)[..., 0].astype(np.uint16) << 8
    return encoded(Image.fromarray(grey), "PNG")


def turned_by_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(corners(256, 256)).transpose(Image.Transpose.ROTATE_90)
    return encoded(lying, "JPEG", quality=97, exif=exif)


def cut_stream(folder: Path, suffix: str) -> bytes:
    data = write_video(folder / f"whole.{suffix}", map(numbered, range(100)), options=SIMPLE).read_bytes()
    return data[: len(data) * 8 // 10 // 188 * 188 + 9]


class Boxes:
    """An MP4 whose sample table is replaced; its other boxes stay."""

    _HOLDING = (b"moov", b"trak", b"mdia", b"minf", b"stbl")

    def __init__(self, data: bytes) -> None:
        self._data = data
        at = data.index(b"mdat")
        self._first = data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]

    def emptied(self) -> bytes:
        none = bytes(8)
        return self._with({b"stts": none, b"stsz": bytes(12), b"stsc": none, b"stco": none, b"stss": none}, b"")

    def repeated(self, count: int) -> bytes:
        """Return the only frame `count` times."""
        size = len(self._first)
        tables = {
            b"stts": struct.pack(">IIII", 0, 1, count, 1),
            b"stsz": struct.pack(">III", 0, size, count),
            b"stsc": struct.pack(">IIIII", 0, 1, 1, 1, 1),
            b"stco": struct.pack(">II", 0, count) + bytes(4 * count),
            b"edts": b"",  # its edit list would show only the first frame
        }
        place = len(self._with(tables, b"")).to_bytes(4, "big")  # frames are at the end
        tables[b"stco"] = struct.pack(">II", 0, count) + place * count
        return self._with(tables, self._first)

    def _with(self, tables: dict[bytes, bytes], pictures: bytes) -> bytes:
        kept = [body for name, body in _boxes(self._data) if name == b"ftyp"]
        index = [self._changed(b"moov", body, tables) for name, body in _boxes(self._data) if name == b"moov"]
        return _box(b"ftyp", kept[0]) + index[0] + _box(b"mdat", pictures)

    def _changed(self, name: bytes, body: bytes, tables: dict[bytes, bytes]) -> bytes:
        if name in tables:
            return _box(name, tables[name])
        if name in self._HOLDING:
            return _box(name, b"".join(self._changed(inner, part, tables) for inner, part in _boxes(body)))
        return _box(name, body)


def _boxes(data: bytes) -> Sequence[tuple[bytes, bytes]]:
    boxes, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return boxes


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body
