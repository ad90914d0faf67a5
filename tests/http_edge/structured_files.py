"""Pictures and videos of a few MB whose headers, tables and metadata have as many entries as fit."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.http_edge.files import Boxes, encoded, film
from tests.support.films import corners, write_video

SIZE = 8 << 20


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_table(folder: Path, name: bytes, entry: bytes, head: bytes = b"") -> bytes:
    """Return an MP4 of one frame whose table `name` has as many entries as fit."""
    count = SIZE // len(entry)
    data = write_video(folder / "one.mp4", [corners(64, 48)], container={"movflags": "faststart"}).read_bytes()
    table = struct.pack(">I", 0) + head + struct.pack(">I", count) + entry * count
    return Boxes(data)._with({name: table}, Boxes(data)._first)


def tables(folder: Path) -> dict[str, bytes]:
    """Return MP4s with long tables that are complete."""
    return {
        "stts": with_table(folder, b"stts", struct.pack(">II", 1, 1)),
        "stts of much": with_table(folder, b"stts", struct.pack(">II", 1000, 1)),
        "stsc": with_table(folder, b"stsc", struct.pack(">III", 1, 1, 1)),
        "stsz": with_table(folder, b"stsz", struct.pack(">I", 1), struct.pack(">I", 0)),
        "stco": with_table(folder, b"stco", struct.pack(">I", 48)),
    }


def boxes(folder: Path) -> dict[str, bytes]:
    """Return MP4s with many boxes, or with deeply nested ones."""
    data = film(folder)
    levels = 100_000
    deep = b"".join(struct.pack(">I4s", 8 * (levels - level), b"moov") for level in range(levels))
    start = data[: int.from_bytes(data[:4], "big")]
    return {
        "free": start + box(b"free", b"") * (SIZE // 8) + data,
        "moov in moov": start + deep,
        "tracks": start + box(b"moov", box(b"trak", b"") * (SIZE // 8)),
        "user data": start + box(b"moov", box(b"udta", box(b"\xa9nam", b"\0\4\0\0name") * (SIZE // 16))) + data,
        "edits": start
        + box(
            b"moov",
            box(
                b"trak",
                box(
                    b"edts",
                    box(
                        b"elst",
                        bytes(4) + struct.pack(">I", SIZE // 12) + struct.pack(">III", 1, 0, 1 << 16) * (SIZE // 12),
                    ),
                ),
            ),
        ),
        "fragments": data + box(b"moof", b"") * (SIZE // 8),
        "matroska": b"\x1aE\xdf\xa3\x80\x18S\x80g\x01\xff\xff\xff\xff\xff\xff\xff" + b"\xec\x80" * (SIZE // 2),
        "gif": b"GIF89a\x10\0\x10\0\0\0\0" + b"\x21\xfe\x01a\0" * (SIZE // 5) + b";",
        "riff": b"RIFF\xff\xff\xff\x7fAVI " + b"JUNK\0\0\0\0" * (SIZE // 8),
        "ogg": b"OggS\0\2" + bytes(20) + b"\0" + (b"OggS" + bytes(23)) * (SIZE // 27),
    }


def pictures() -> dict[str, bytes]:
    """Return pictures with much metadata."""
    plain = Image.fromarray(corners(64, 64))
    png, jpeg, webp = encoded(plain, "PNG"), encoded(plain, "JPEG"), encoded(plain, "WEBP")
    text = zlib.compress(b"x" * (60 << 20), 9)
    entries = struct.pack("<HHII", 0x0112, 3, 1, 1) * 5000
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000) + entries
    loop = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    looped = b"\xff\xe1" + struct.pack(">H", len(loop) + 2) + loop
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + b"<a>" * 20_000
    xmp = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    after = len(png[:33])  # the signature and IHDR
    return {
        "png of texts": png[:after] + chunk(b"tEXt", b"a\0b") * (SIZE // 15) + png[after:],
        "png of packed texts": png[:after] + chunk(b"zTXt", b"a\0\0" + text) * 50 + png[after:],
        "png of empty chunks": png[:after] + chunk(b"IDAT", b"") * (SIZE // 12) + png[after:],
        "png with a packed profile": png[:after] + chunk(b"iCCP", b"a\0\0" + text) + png[after:],
        "png with an xml": png[:after]
        + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<a>" * 2_000_000)
        + png[after:],
        "jpeg of exif": jpeg[:2] + segment * (SIZE // len(segment)) + jpeg[2:],
        "jpeg of xmp": jpeg[:2] + xmp * (SIZE // len(xmp)) + jpeg[2:],
        "jpeg whose exif leads to itself": jpeg[:2] + looped + jpeg[2:],
        "jpeg of empty segments": jpeg[:2] + b"\xff\xfe\0\2" * (SIZE // 4) + jpeg[2:],
        "jpeg of scans": jpeg[:-2] + jpeg[jpeg.index(b"\xff\xda") : -2] * 2000 + jpeg[-2:],
        "webp of chunks": webp[:12] + b"ABCD\0\0\0\0" * (SIZE // 8) + webp[12:],
        "noise in a png": png[:after] + np.random.default_rng(1).bytes(SIZE) + png[after:],
    }
