"""Write pictures as phones, scanners, browsers and editors make them, whole and odd."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tests.e2e.field.compare import COLOURS
from tests.support.coded import BT2020, P3, hlg, in_gamut, pq, srgb_code, srgb_light
from tests.support.films import panning, texture, write_video

QUARTERS = ("red", "green", "blue", "yellow")
WIDTH, HEIGHT = 320, 240


def four_quarters(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Return a picture of four plain quarters, in the order of QUARTERS."""
    picture = np.empty((height, width, 3), np.uint8)
    for number, name in enumerate(QUARTERS):
        y, x = divmod(number, 2)
        picture[y * height // 2 : (y + 1) * height // 2, x * width // 2 : (x + 1) * width // 2] = COLOURS[name]
    return Image.fromarray(picture)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the picture as a file of that kind."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, extra: bytes = b"", kind: int = 3) -> bytes:
    """Return EXIF data with an orientation of TIFF's type `kind`, and one more entry of 12 bytes before it."""
    entry = struct.pack("<HHIHH", 0x0112, kind, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", 8, 2 if extra else 1) + extra + entry + bytes(4)


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """Return a JPEG with one more segment at its start."""
    return jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", 2 + len(body)) + body + jpeg[2:]


def with_exif(data: bytes) -> bytes:
    return with_segment(saved(four_quarters(), "JPEG", quality=95), 0xE1, b"Exif\0\0" + data)


def with_chunk(png: bytes, name: bytes, body: bytes, right: bool = True) -> bytes:
    """Return a PNG with one more chunk after its header, with the right CRC or a wrong one."""
    crc = zlib.crc32(name + body) ^ (0 if right else 1)
    return png[:33] + struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc) + png[33:]


def with_riff_chunk(webp: bytes, name: bytes, body: bytes) -> bytes:
    """Return a WebP with one more chunk at its end; its header, if it has one, does not announce it."""
    chunks = webp[12:] + name + struct.pack("<I", len(body)) + body + bytes(len(body) & 1)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def extended_webp(picture: Image.Image) -> bytes:
    return saved(picture, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(1), icc_profile=srgb())


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def turned(orientation: int) -> Image.Image:
    """Return the four quarters as a camera stores them that was held so."""
    undo = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
        8: "ROTATE_270",
    }
    picture = four_quarters()
    return picture.transpose(Image.Transpose[undo[orientation]]) if orientation in undo else picture


def ultra_hdr() -> bytes:
    """Return a JPEG followed by a gain map, as Android stores them, with an index of both (MPF)."""
    picture = saved(four_quarters(), "JPEG", quality=95)
    gain = saved(Image.new("L", (80, 60), 128), "JPEG")
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><hdrgm:Version>1.0</hdrgm:Version>"
    index = struct.pack(">HHHI4sHHIIHHIII", 0x4D4D, 42, 3, 8, b"", 0, 0, 0, 0, 0, 0, 0, len(gain), 0)
    return with_segment(with_segment(picture, 0xE1, xmp), 0xE2, b"MPF\0" + index) + gain


def deep_png() -> bytes:
    """Return a PNG of 16 bits a colour."""
    deep = np.asarray(four_quarters()).astype(np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head)
    return start + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def text_bomb(name: bytes) -> bytes:
    """Return a PNG whose text has 64 MB once it is inflated."""
    head = b"Comment\0" + (b"\0" if name == b"zTXt" else b"\x01\0\0\0")
    return with_chunk(saved(four_quarters(), "PNG"), name, head + zlib.compress(bytes(64 << 20), 1))


def profile_bomb() -> bytes:
    return with_chunk(saved(four_quarters(), "PNG"), b"iCCP", b"profile\0\0" + zlib.compress(bytes(64 << 20), 1))


def many_texts() -> bytes:
    info = PngInfo()
    for number in range(3000):
        info.add_text(f"key{number}", "value")
    return saved(four_quarters(), "PNG", pnginfo=info)


def deep_avif() -> bytes:
    """Return an AVIF of 10 bits a colour."""
    file = io.BytesIO()
    with av.open(file, "w", format="avif") as output:
        stream = output.add_stream("libsvtav1", rate=1, options={"crf": "10", "preset": "10"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(four_quarters()), format="rgb24")))
        output.mux(stream.encode())
    return file.getvalue()


def large(width: int, height: int, **options: Any) -> bytes:
    """Return a JPEG of many pixels; a small picture made larger."""
    return saved(four_quarters().resize((width, height), Image.Resampling.NEAREST), "JPEG", quality=60, **options)


def animation(kind: str, **options: Any) -> bytes:
    """Return 19 frames of a camera that pans left, each shown for 100 ms."""
    first, *others = (Image.fromarray(frame) for frame in panning(19, 96, 72, step=3, seed=4))
    return saved(first, kind, save_all=True, append_images=others, duration=100, **options)


def tiff(picture: Image.Image, compression: str | None = None, **options: Any) -> bytes:
    return saved(picture, "TIFF", compression=compression, **options)


def damaged_tiff() -> bytes:
    """Return a TIFF whose EXIF directory lies behind its end."""
    tags = ImageFileDirectory_v2()
    tags.tagtype[0x9FFF] = 4
    tags[0x9FFF] = 1 << 30
    return tiff(four_quarters(), tiffinfo=tags).replace(struct.pack("<H", 0x9FFF), struct.pack("<H", 0x8769), 1)


def halves(content: bytes) -> bytes:
    return content[: len(content) // 2]


def grey16() -> Image.Image:
    return Image.fromarray(texture(WIDTH, HEIGHT, seed=3)[..., 0].astype(np.uint16) * 257)


def transparent() -> Image.Image:
    return Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))


def orientation(number: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = number
    return data


def lab(picture: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")  # type: ignore[return-value]


def commented(jpeg: bytes) -> bytes:
    for _ in range(48):
        jpeg = with_segment(jpeg, 0xFE, bytes(65_000))
    return jpeg


def motion_jpeg(path: Path, orientation: int) -> object:
    """Write a film of Motion JPEG whose frames have EXIF, as cameras write them."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for number in range(10):
            packet = av.Packet(with_exif(exif(orientation)))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 10)
            packet.is_keyframe = True
            output.mux(packet)
    return path


def coded(how: str) -> np.ndarray:
    """Return the four quarters as RGB codes of BT.2020 with PQ or HLG, or of Display P3: uint8 (height, width, 3)."""
    light = srgb_light(np.asarray(four_quarters()) / 255)
    codes = {
        "pq": lambda: pq(203 * in_gamut(light, BT2020)),
        "hlg": lambda: hlg(in_gamut(light, BT2020)),
        "p3": lambda: srgb_code(in_gamut(light, P3)),
    }[how]()
    return np.round(codes.clip(0, 1) * 255).astype(np.uint8)


def hdr_png() -> bytes:
    """Return a PNG that says by cICP that it is PQ in BT.2020."""
    return with_chunk(saved(Image.fromarray(coded("pq")), "PNG"), b"cICP", bytes((9, 16, 0, 1)))


def hdr_avif() -> bytes:
    """Return an AVIF whose colours are PQ in BT.2020; Pillow writes it as sRGB, and this changes what it says."""
    content = saved(Image.fromarray(coded("pq")), "AVIF", quality=100, subsampling="4:4:4")
    at = content.index(b"colrnclx") + 8
    return content[:at] + struct.pack(">HH", 9, 16) + content[at + 4 :]


def heic_sequence(path: Path) -> object:
    """Write 19 frames of a camera that pans left as a track under the brand of HEIC sequences."""
    frames = panning(19, 96, 72, step=3, seed=4)
    options = {"x265-params": "log-level=none", "crf": "20"}
    film = write_video(
        path.with_suffix(".mp4"), frames, 10, codec="libx265", options=options, container={"brand": "hevc"}
    )
    return film.rename(path)


def many_damaged_chunks() -> bytes:
    """Return a PNG with 676 chunks of different names, each with a wrong checksum."""
    png = saved(four_quarters(), "PNG")
    letters = range(ord("a"), ord("z") + 1)
    damaged = b"".join(
        _chunk(bytes((first, second)) + b"Xx", b"")[:-4] + b"\0\0\0\0" for first in letters for second in letters
    )
    return png[:33] + damaged + png[33:]
