"""Versions of libraries bundled inside packages, which no lock file shows; read from the installed files."""

import ctypes
import re
import subprocess
from collections.abc import Callable
from importlib.metadata import files, version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TRITON = CHECKOUT / ".runtime" / "triton"
ABSENT = "not installed"


def library(package: str, start: str) -> Path | None:
    """Return the shared library of a wheel whose file name begins with `start`."""
    matches = [file for file in files(package) or [] if file.name.startswith(start) and ".so" in file.name]
    return Path(str(matches[0].locate())) if matches else None


def ffmpeg_version(package: str) -> str:
    """Return the version that the wheel's libavutil reports."""
    return call(package, "libavutil", "av_version_info")


def call(package: str, name: str, function: str) -> str:
    """Return the text that a function of a wheel's library returns, for example `avutil_license` of libavutil."""
    path = library(package, name)
    if path is None:
        return ABSENT
    library_function = getattr(ctypes.CDLL(str(path)), function)
    library_function.restype = ctypes.c_char_p
    return str(library_function().decode())


def soname(package: str, start: str) -> str:
    """Return the part after `.so.` in the name of a bundled library, the only version that some of them carry."""
    path = library(package, start)
    return path.name.partition(".so.")[2] if path else ABSENT


def pillow(feature: str) -> str:
    """Return the version of a library inside Pillow."""
    from PIL import features

    return str(features.version(feature) or ABSENT)


def heif(name: str) -> str:
    """Return the version of a library inside pi-heif, as the wheel reports it."""
    import pi_heif

    info = pi_heif.libheif_info()
    texts = [info["libheif"] if name == "libheif" else "", *info["decoders"].values()]
    return next((text.rpartition(" ")[2] for text in texts if text and (name == "libheif" or name in text)), ABSENT)


def nginx() -> str:
    """Return the version of Debian's nginx package, which also shows the backported fixes."""
    command = ["dpkg-query", "--show", "--showformat", "${Version}", "nginx-light"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ABSENT


def triton_library(start: str, pattern: bytes) -> str:
    """Return the version of a library that was unpacked with Triton: group 1 of the first match of `pattern`."""
    library = next((TRITON / "lib").glob(f"{start}*"), None)
    if library is None:
        return ABSENT
    match = re.search(pattern, library.read_bytes())
    return match[1].decode() if match else "no version"


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "FFmpeg in decord2": ("web", lambda: ffmpeg_version("decord2")),
    "FFmpeg in av (PyAV)": ("web", lambda: ffmpeg_version("av")),
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
    """Return the version of every part."""
    return {name: read_version() for name, (_, read_version) in PARTS.items()}


def table() -> list[str]:
    """Return parts, images and versions as lines of a Markdown table."""
    current = versions()
    return ["| part | image | version |", "|---|---|---|"] + [
        f"| {name} | {PARTS[name][0]} | {current[name]} |" for name in PARTS
    ]
