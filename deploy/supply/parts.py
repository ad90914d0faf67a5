"""What is inside the packages and cannot be seen in a lock: versions, read from the installed files themselves.

python -m deploy.supply.parts      the table of docs/supply.md
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable
from importlib.metadata import files, version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TRITON = CHECKOUT / ".runtime" / "triton"
ABSENT = "not here"


def _library(package: str, start: str) -> Path | None:
    """The shared library of a wheel whose file's name starts so."""
    found = [each for each in files(package) or [] if each.name.startswith(start) and ".so" in each.name]
    return Path(str(found[0].locate())) if found else None


def _said(library: Path | None, pattern: bytes) -> str:
    """The first match of `pattern`'s group in the bytes of a library."""
    if library is None or not library.is_file():
        return ABSENT
    found = re.search(pattern, library.read_bytes())
    return found[1].decode() if found else "says no version"


def ffmpeg(package: str) -> str:
    """Version of the FFmpeg in a wheel, by what its own libavutil answers."""
    return _answer(package, "libavutil", "av_version_info")


def ffmpeg_licence(package: str) -> str:
    """What that FFmpeg says of its licence."""
    return _answer(package, "libavutil", "avutil_license")


def ffmpeg_configuration(package: str) -> str:
    """What that FFmpeg was configured with."""
    return _answer(package, "libavutil", "avutil_configuration")


def _answer(package: str, library: str, function: str) -> str:
    path = _library(package, library)
    if path is None:
        return ABSENT
    ask = getattr(ctypes.CDLL(str(path)), function)
    ask.restype = ctypes.c_char_p
    return str(ask().decode())


def copyleft(package: str) -> list[str]:
    """Libraries under the GPL in a wheel, whatever its FFmpeg says."""
    return [name for name in ("libx264", "libx265") if _library(package, name)]


def soname(package: str, start: str) -> str:
    """What stands after `.so.` in the name of a bundled library: the only version that some of them tell."""
    path = _library(package, start)
    return path.name.partition(".so.")[2] if path else ABSENT


def pillow(feature: str) -> str:
    from PIL import features

    return str(features.version(feature) or ABSENT)


def heif(name: str) -> str:
    """Version of a library in pi-heif's wheel, as the wheel itself names it."""
    import pi_heif

    found = pi_heif.libheif_info()
    texts = [found["libheif"] if name == "libheif" else "", *found["decoders"].values()]
    return next((text.rpartition(" ")[2] for text in texts if text and (name == "libheif" or name in text)), ABSENT)


def nginx() -> str:
    """Debian's version, which tells more than nginx's own: it names the fixes."""
    asked = ["dpkg-query", "--show", "--showformat", "${Version}", "nginx-light"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ABSENT


def triton_library(start: str, pattern: bytes) -> str:
    return _said(next(iter((TRITON / "lib").glob(f"{start}*")), None), pattern)


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "FFmpeg in decord2": ("web", lambda: ffmpeg("decord2")),
    "FFmpeg in av (PyAV)": ("web", lambda: ffmpeg("av")),
    "dav1d in decord2 (soname)": ("web", lambda: soname("decord2", "libdav1d")),
    "dav1d in av (soname)": ("web", lambda: soname("av", "libdav1d")),
    "libvpx in av (soname)": ("web", lambda: soname("av", "libvpx")),
    "Pillow": ("web", lambda: version("pillow")),
    "libjpeg-turbo in Pillow": ("web", lambda: pillow("libjpeg_turbo")),
    "libwebp in Pillow": ("web", lambda: pillow("webp")),
    "zlib-ng in Pillow": ("web", lambda: pillow("zlib_ng")),
    "libavif in Pillow": ("web", lambda: pillow("avif")),
    "libtiff in Pillow": ("web", lambda: pillow("libtiff")),
    "LittleCMS in Pillow": ("web", lambda: pillow("littlecms2")),
    "libheif in pi-heif": ("web", lambda: heif("libheif")),
    "libde265 in pi-heif": ("web", lambda: heif("libde265")),
    "nginx of Debian": ("web", nginx),
    "OpenVINO": ("triton", lambda: version("openvino")),
    "OpenSSL beside Triton": ("triton", lambda: triton_library("libcrypto", rb"OpenSSL (\d+\.\d+\.\d+)")),
    "libcurl beside Triton": ("triton", lambda: triton_library("libcurl", rb"libcurl (\d+\.\d+\.\d+)")),
}


def versions() -> dict[str, str]:
    return {name: ask() for name, (_, ask) in PARTS.items()}


def table() -> list[str]:
    """Parts, images and versions as Markdown."""
    found = versions()
    return ["| part | image | version |", "|---|---|---|"] + [
        f"| {name} | {PARTS[name][0]} | {found[name]} |" for name in PARTS
    ]


if __name__ == "__main__":
    print("\n".join(table()))
