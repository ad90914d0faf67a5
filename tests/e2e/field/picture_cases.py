"""Pictures as phones, scanners, browsers and editors make them, and animations."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.e2e.field.case import Case
from tests.e2e.field.heif import write_heic
from tests.e2e.field.picture_files import (
    HEIGHT,
    QUARTERS,
    WIDTH,
    animation,
    coded,
    deep_avif,
    deep_png,
    exif,
    extended_webp,
    four_quarters,
    grey16,
    hdr_avif,
    hdr_png,
    heic_sequence,
    lab,
    large,
    motion_jpeg,
    orientation,
    saved,
    tiff,
    transparent,
    turned,
    with_chunk,
)
from tests.support.films import texture

Content = bytes | Callable[[], bytes]


def case(file: str, why: str, content: Content, **right: Any) -> Case:
    """Return a case of a picture."""

    def make(path: Path) -> object:
        return path.write_bytes(content() if callable(content) else content)

    return Case(file, make, why, right.pop("group", "Pictures"), right.pop("model", "frame_quality"), **right)


def cases() -> list[Case]:
    """Return the cases of this module."""
    return [*_formats(), *_large(), *_animations()]


SHOWN: dict[str, Any] = {"size": (WIDTH, HEIGHT), "quarters": QUARTERS}


PLAIN = four_quarters()


PHOTOGRAPH = Image.fromarray(texture(WIDTH, HEIGHT, seed=3))


def _formats() -> list[Case]:
    jpeg = saved(PLAIN, "JPEG", quality=95)
    png = saved(PLAIN, "PNG")
    webp = extended_webp(PLAIN)
    return [
        case("plain.jpg", "JPEG, baseline", jpeg, **SHOWN, codec="jpeg"),
        case("progressive.jpg", "JPEG, progressive", saved(PLAIN, "JPEG", progressive=True), **SHOWN),
        case("444.jpg", "JPEG, 4:4:4, optimised", saved(PLAIN, "JPEG", subsampling=0, optimize=True), **SHOWN),
        case("restart.jpg", "JPEG with restart markers", saved(PLAIN, "JPEG", restart_marker_rows=1), **SHOWN),
        case("grey.jpg", "JPEG, grey", saved(PHOTOGRAPH.convert("L"), "JPEG"), size=(WIDTH, HEIGHT)),
        case("cmyk.jpg", "JPEG, CMYK as Photoshop writes it", saved(PLAIN.convert("CMYK"), "JPEG"), **SHOWN),
        case("plain.png", "PNG", png, **SHOWN, codec="png"),
        case("palette.png", "PNG with a palette", saved(PLAIN.quantize(16), "PNG"), **SHOWN),
        case("deep.png", "PNG, 16 bits a colour", deep_png(), **SHOWN),
        case("bitmap.png", "PNG, black and white", saved(PHOTOGRAPH.convert("1"), "PNG"), size=(WIDTH, HEIGHT)),
        case("plain.webp", "WebP, lossy", saved(PLAIN, "WEBP"), **SHOWN, codec="webp"),
        case("lossless.webp", "WebP, lossless, with EXIF and a profile", webp, **SHOWN),
        case("plain.bmp", "BMP", saved(PLAIN, "BMP"), **SHOWN, codec="bmp"),
        case("palette.bmp", "BMP with a palette", saved(PLAIN.quantize(16), "BMP"), **SHOWN),
        case("alpha.bmp", "BMP, 32 bits", saved(PLAIN.convert("RGBA"), "BMP"), **SHOWN),
        case("plain.tiff", "TIFF", tiff(PLAIN), **SHOWN, codec="tiff"),
        case("lzw.tiff", "TIFF, LZW", tiff(PLAIN, "tiff_lzw"), **SHOWN),
        case("deflate.tiff", "TIFF, deflate", tiff(PLAIN, "tiff_adobe_deflate"), **SHOWN),
        case("jpeg.tiff", "TIFF, JPEG inside", tiff(PLAIN, "jpeg"), **SHOWN),
        case("packbits.tiff", "TIFF, PackBits", tiff(PLAIN, "packbits"), **SHOWN),
        case("fax.tiff", "TIFF, a fax (group 4)", tiff(PHOTOGRAPH.convert("1"), "group4"), size=(WIDTH, HEIGHT)),
        case("cmyk.tiff", "TIFF, CMYK", tiff(PLAIN.convert("CMYK")), **SHOWN),
        case("grey16.tiff", "TIFF, grey of 16 bits", tiff(grey16()), size=(WIDTH, HEIGHT), label="sharp"),
        case(
            "pages.tiff",
            "TIFF of several pages: the first one counts",
            tiff(PLAIN, save_all=True, append_images=[Image.new("RGB", (64, 48))]),
            **SHOWN,
        ),
        case("turned.tiff", "TIFF, stored on its side", tiff(turned(6), exif=orientation(6)), **SHOWN),
        case("lab.tiff", "TIFF, CIELAB", tiff(lab(PLAIN)), **SHOWN),
        case("plain.heic", "HEIC", lambda: write_heic(np.asarray(PLAIN)), **SHOWN, codec="hevc"),
        case("tiles.heic", "HEIC of tiles, as iPhones do", lambda: write_heic(np.asarray(PLAIN), tile=64), **SHOWN),
        case(
            "turned.heic",
            "HEIC, tiles, turned by the file's own property",
            lambda: write_heic(np.asarray(PLAIN.transpose(Image.Transpose.ROTATE_270)), tile=64, quarter_turns=1),
            **SHOWN,
        ),
        case(
            "mirrored.heic",
            "HEIC, mirrored by the file's own property",
            lambda: write_heic(np.asarray(turned(2)), mirror=1),
            **SHOWN,
        ),
        case(
            "exif_too.heic",
            "HEIC whose EXIF asks for the turn once more: it does not count",
            lambda: write_heic(
                np.asarray(PLAIN.transpose(Image.Transpose.ROTATE_270)), quarter_turns=1, exif=b"Exif\0\0" + exif(6)
            ),
            **SHOWN,
        ),
        case("ten_bits.heic", "HEIC, 10 bits a colour", lambda: write_heic(np.asarray(PLAIN), deep=True), **SHOWN),
        case("heic_named.jpg", "HEIC named as a JPEG", lambda: write_heic(np.asarray(PLAIN), tile=64), **SHOWN),
        case("mif1.heic", "HEIC with the brand mif1", lambda: write_heic(np.asarray(PLAIN), brand=b"mif1"), **SHOWN),
        case("plain.avif", "AVIF", saved(PLAIN, "AVIF"), **SHOWN, codec="av1"),
        case("turned.avif", "AVIF, turned", saved(turned(6), "AVIF", exif=orientation(6)), **SHOWN),
        case("alpha.avif", "AVIF, transparent: on white", saved(transparent(), "AVIF"), quarters=("white",) * 4),
        case(
            "pq.heic",
            "HEIC, PQ in BT.2020, as cameras write HDR",
            lambda: write_heic(coded("pq"), deep=True, coding=(9, 16)),
            **SHOWN,
        ),
        case("hlg.heic", "HEIC, HLG in BT.2020", lambda: write_heic(coded("hlg"), deep=True, coding=(9, 18)), **SHOWN),
        case("p3.heic", "HEIC in Display P3, no profile", lambda: write_heic(coded("p3"), coding=(12, 13)), **SHOWN),
        case("pq.avif", "AVIF, PQ in BT.2020, 8 bits a colour", hdr_avif, **SHOWN, within=35),
        case("pq.png", "PNG, PQ in BT.2020 (cICP)", hdr_png, **SHOWN),
        case("ten_bits.avif", "AVIF, 10 bits a colour", deep_avif, **SHOWN),
    ]


def _large() -> list[Case]:
    huge: dict[str, Any] = {"quarters": QUARTERS, "group": "Pictures of many pixels"}
    return [
        case("48mp.jpg", "JPEG of 48 megapixels", lambda: large(8064, 6048), size=(8064, 6048), **huge),
        case(
            "48mp_progressive.jpg",
            "progressive JPEG of 48 megapixels",
            lambda: large(8064, 6048, progressive=True),
            size=(8064, 6048),
            **huge,
        ),
        case("200mp.jpg", "JPEG of 200 megapixels", lambda: large(16320, 12240), size=(16320, 12240), **huge),
    ]


def _animations() -> list[Case]:
    moving: dict[str, Any] = {
        "model": "camera_motion",
        "label": "pan_left",
        "job_label": "pan_left",
        "duration_s": 1.9,
        "group": "Animations",
    }
    return [
        case("pan.webp", "animated WebP", lambda: animation("WEBP"), **moving, frames=19, container="webp"),
        case("pan_lossless.webp", "animated WebP, lossless", lambda: animation("WEBP", lossless=True), **moving),
        case("pan.png", "animated PNG", lambda: animation("PNG"), **moving, frames=19, container="png"),
        case("pan.avif", "animated AVIF", lambda: animation("AVIF"), **moving, frames=19, container="avif"),
        Case(
            "exif.avi",
            partial(motion_jpeg, orientation=1),
            "Motion JPEG with EXIF in its frames",
            "Animations",
            **SHOWN,
            codec="mjpeg",
        ),
        Case(
            "exif_turned.mov",
            partial(motion_jpeg, orientation=6),
            "Motion JPEG with EXIF in its frames, turned",
            "Animations",
            size=(HEIGHT, WIDTH),
            codec="mjpeg",
            rotation=90,
        ),
        Case("pan.heics", heic_sequence, "HEIC sequence", **moving, codec="hevc"),
        case("pan.gif", "animated GIF", lambda: animation("GIF"), **moving, frames=19, container="gif"),
        case(
            "one_frame.png",
            "animated PNG of one frame: a picture",
            with_chunk(saved(PLAIN, "PNG"), b"acTL", struct.pack(">II", 1, 0)),
            **SHOWN,
            group="Animations",
        ),
    ]
