"""The valid files that mutants are made from: a few kB each, for every accepted container."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.conftest import CHECKOUT
from tests.e2e.field.heif import write_heic
from tests.support.films import panning, texture, write_video

SIDE, FRAMES, FPS = 64, 10, 10
MOST_BYTES = 200_000  # of real footage: larger files would slow the run down
_SAME = {"fflags": "+bitexact"}  # no random identifiers, no version of the writer: the same bytes each time


@dataclass(frozen=True, slots=True)
class Seed:
    """A valid file; `form` selects the parser of its structure (`tests/nightly/fuzz/fields.py`)."""

    name: str
    form: str
    content: bytes


# name: form, suffix, options of `write_video`
_FILMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mp4 h264": ("boxes", "mp4", {"options": {"x264-params": "bframes=2"}, "gop": 5}),
    "mp4 fragments": ("boxes", "mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}, "gop": 4}),
    "mp4 turned, index first": ("boxes", "mp4", {"rotation": 90, "container": {"movflags": "faststart"}}),
    "mp4 uneven times": ("boxes", "mp4", {"pts": [100, 140, 400, 410, 420, 900, 950, 1000, 1500, 1510]}),
    "mov mjpeg": ("boxes", "mov", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "mkv h264": ("ebml", "mkv", {"options": {"x264-params": "bframes=2"}, "gop": 5}),
    "mkv ffv1": ("ebml", "mkv", {"codec": "ffv1"}),
    "webm vp9": ("ebml", "webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}, "gop": 4}),
    "webm vp8": ("ebml", "webm", {"codec": "libvpx", "gop": 4}),
    "avi mpeg4": ("riff", "avi", {"codec": "mpeg4", "gop": 4}),
    "avi mjpeg": ("riff", "avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "ts h264": ("packets", "ts", {"gop": 4}),
    "ts mpeg2": ("packets", "ts", {"codec": "mpeg2video", "fps": 25, "gop": 4}),
    "flv": ("blind", "flv", {"codec": "flv", "gop": 4}),
    "mpeg": ("blind", "mpg", {"codec": "mpeg1video", "fps": 25, "gop": 4}),
    "asf": ("blind", "asf", {"codec": "wmv2", "gop": 4}),
    "ogg": ("blind", "ogv", {"codec": "libvpx", "gop": 4}),
}


def _film(suffix: str, extra: dict[str, Any]) -> bytes:
    options = {"fps": FPS, **extra}
    options["container"] = _SAME | options.get("container", {})
    options["options"] = {"flags": "+bitexact", **options.get("options", {})}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / f"seed.{suffix}"
        return write_video(path, panning(FRAMES, SIDE, SIDE, step=2), **options).read_bytes()


def _picture(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(texture(SIDE, SIDE, seed=3))
    mode = options.pop("mode", "RGB")
    picture.convert(mode).save(file, kind, **options)
    return file.getvalue()


def _deep_png() -> bytes:
    file = io.BytesIO()
    ramp = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 16
    Image.fromarray(ramp).save(file, "PNG")
    return file.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    return exif


def _profile() -> bytes:
    """Return an sRGB profile with a fixed date."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def _frames(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in panning(5, SIDE, SIDE, step=4))
    first.save(file, kind, save_all=True, append_images=others, duration=100, **options)
    return file.getvalue()


def _undated(content: bytes) -> bytes:
    """Return the file with the dates in its boxes set to zero, 8 bytes each as libavif writes them."""
    return re.sub(rb"((?:mvhd|tkhd|mdhd)\x01...).{16}", lambda match: match[1] + bytes(16), content, flags=re.DOTALL)


_PICTURES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gif": ("gif", lambda: _frames("GIF", loop=0)),
    "gif of one frame": ("gif", lambda: _picture("GIF")),
    "png": ("png", lambda: _picture("PNG")),
    "png palette": ("png", lambda: _picture("PNG", mode="P")),
    "png with alpha": ("png", lambda: _picture("PNG", mode="RGBA")),
    "png 16 bits": ("png", _deep_png),
    "apng": ("png", lambda: _frames("PNG")),
    "jpeg": ("jpeg", lambda: _picture("JPEG", exif=_turned())),
    "jpeg progressive": ("jpeg", lambda: _picture("JPEG", progressive=True, mode="L")),
    "jpeg cmyk": ("jpeg", lambda: _picture("JPEG", mode="CMYK")),
    "webp": ("riff", lambda: _picture("WEBP")),
    "webp lossless": ("riff", lambda: _picture("WEBP", lossless=True, mode="RGBA", exif=_turned())),
    "webp frames": ("riff", lambda: _frames("WEBP")),
    "avif": ("boxes", lambda: _picture("AVIF", exif=_turned())),
    "avif frames": ("boxes", lambda: _undated(_frames("AVIF"))),
    "heic": ("boxes", lambda: write_heic(texture(SIDE, SIDE, seed=3), exif=b"II*\0\x08\0\0\0\0\0")),
    "heic tiles, turned": (
        "boxes",
        lambda: write_heic(texture(SIDE, SIDE, seed=3), tile=32, quarter_turns=1, mirror=0),
    ),
    "heic 10 bits": ("boxes", lambda: write_heic(texture(SIDE, SIDE, seed=3), deep=True)),
    "bmp": ("blind", lambda: _picture("BMP")),
    "bmp palette": ("blind", lambda: _picture("BMP", mode="P")),
    "tiff": ("blind", lambda: _picture("TIFF")),
    "tiff lzw": ("blind", lambda: _picture("TIFF", compression="tiff_lzw", exif=_turned())),
    "tiff deflate": ("blind", lambda: _picture("TIFF", compression="tiff_adobe_deflate")),
    "tiff jpeg": ("blind", lambda: _picture("TIFF", compression="jpeg")),
    "tiff fax": ("blind", lambda: _picture("TIFF", compression="group4", mode="1")),
    "jpeg with profile": ("jpeg", lambda: _picture("JPEG", icc_profile=_profile())),
    "png with profile": ("png", lambda: _picture("PNG", icc_profile=_profile(), exif=_turned())),
}

_FORMS = {".mp4": "boxes", ".mov": "boxes", ".mkv": "ebml", ".webm": "ebml", ".avi": "riff", ".gif": "gif"}


@cache
def made() -> tuple[Seed, ...]:
    """Return all files that this project writes itself, always in the same order."""
    films = [Seed(name, form, _film(suffix, extra)) for name, (form, suffix, extra) in _FILMS.items()]
    return (*films, *(Seed(name, form, write()) for name, (form, write) in _PICTURES.items()))


def found() -> tuple[Seed, ...]:
    """Return small real and bad files beside the checkout, if there are any; they are read there, never copied."""
    folders = (CHECKOUT.parent / "shared" / name for name in ("videos", "bad"))
    paths = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir())
    small = [path for path in paths if path.suffix in _FORMS and path.stat().st_size <= MOST_BYTES]
    return tuple(Seed(f"footage {path.name}", _FORMS[path.suffix], path.read_bytes()) for path in small)
