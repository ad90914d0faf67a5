"""Pictures as phones, scanners, browsers and editors make them, whole and odd, and what is right for them."""

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
    commented,
    damaged_tiff,
    deep_avif,
    deep_png,
    exif,
    extended_webp,
    four_quarters,
    grey16,
    halves,
    hdr_avif,
    hdr_png,
    heic_sequence,
    lab,
    large,
    many_damaged_chunks,
    many_texts,
    motion_jpeg,
    orientation,
    profile_bomb,
    saved,
    srgb,
    text_bomb,
    tiff,
    transparent,
    turned,
    ultra_hdr,
    with_chunk,
    with_exif,
    with_riff_chunk,
    with_segment,
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
    return [*_formats(), *_odd_jpeg(), *_odd_png(), *_odd_others(), *_large(), *_animations()]


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


def _odd_jpeg() -> list[Case]:
    jpeg = saved(PLAIN, "JPEG", quality=95)
    return [
        *(
            case(
                f"exif_{number}.jpg",
                f"JPEG, EXIF orientation {number}",
                with_segment(saved(turned(number), "JPEG", quality=95), 0xE1, b"Exif\0\0" + exif(number)),
                **SHOWN,
            )
            for number in range(2, 9)
        ),
        case(
            "exif_orientation_9.jpg",
            "EXIF orientation that does not exist",
            with_exif(exif(9)),
            **SHOWN,
            warning="EXIF",
        ),
        case(
            "exif_orientation_text.jpg",
            "EXIF orientation that is a text",
            with_exif(exif(6, kind=2)),
            **SHOWN,
            warning="EXIF",
        ),
        case(
            "exif_fraction.jpg",
            "EXIF width that is a fraction",
            with_exif(exif(1, struct.pack("<HHIf", 256, 11, 1, 1.5))),
            **SHOWN,
        ),
        case(
            "exif_huge_count.jpg",
            "EXIF tag that promises 4 GB",
            with_exif(exif(1, struct.pack("<HHII", 0x010E, 2, 0xFFFFFFFF, 8))),
            **SHOWN,
        ),
        case(
            "exif_loop.jpg",
            "EXIF directory that points to itself",
            with_exif(exif(1, struct.pack("<HHII", 0x8769, 4, 1, 8))),
            **SHOWN,
        ),
        case("exif_cut.jpg", "EXIF that is cut off", with_exif(exif(6)[:12]), **SHOWN, warning="EXIF"),
        case("exif_noise.jpg", "EXIF that is noise", with_exif(bytes(range(256))), **SHOWN, warning="EXIF"),
        case(
            "profile_noise.jpg",
            "colour profile that is noise",
            with_segment(jpeg, 0xE2, b"ICC_PROFILE\0\x01\x01" + bytes(range(256))),
            **SHOWN,
            warning="profile",
        ),
        case(
            "profile_part.jpg",
            "colour profile of which a part is missing",
            with_segment(jpeg, 0xE2, b"ICC_PROFILE\0\x01\x02" + srgb()),
            **SHOWN,
            warning="profile",
        ),
        case(
            "segments.jpg",
            "JPEG with odd application segments",
            with_segment(with_segment(with_segment(jpeg, 0xED, b"Photoshop 3.0"), 0xE0, b"JF"), 0xEE, b"Adobe"),
            **SHOWN,
        ),
        case("comments.jpg", "JPEG with 3 MB of comments", commented(jpeg), **SHOWN),
        case("stray.jpg", "JPEG with stray bytes", jpeg[:20] + b"\0\0\xff\xff" + jpeg[20:], **SHOWN),
        case("trailing.jpg", "JPEG followed by other bytes", jpeg + bytes(range(256)) * 40, **SHOWN),
        case("no_end.jpg", "JPEG without its end marker", jpeg[:-2], **SHOWN, warning="end marker"),
        case(
            "no_end_progressive.jpg",
            "progressive JPEG without its end marker",
            saved(PLAIN, "JPEG", progressive=True)[:-2],
            **SHOWN,
            warning="end marker",
        ),
        case("half.jpg", "JPEG that is cut off", halves(saved(PHOTOGRAPH, "JPEG")), status=422, message="cut off"),
        case(
            "half_progressive.jpg",
            "progressive JPEG that is cut off",
            halves(saved(PHOTOGRAPH, "JPEG", progressive=True)),
            status=422,
            message="cut off",
        ),
        case(
            "nearly.jpg",
            "JPEG that lacks its last 3 %",
            saved(PHOTOGRAPH, "JPEG")[: -len(saved(PHOTOGRAPH, "JPEG")) // 33],
            status=422,
            message="cut off",
        ),
        case("ultra_hdr.jpg", "Ultra HDR: the main picture counts", ultra_hdr(), **SHOWN),
        case(
            "several.mpo",
            "MPO of two pictures: the first one counts",
            saved(PLAIN, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))]),
            **SHOWN,
        ),
    ]


def _odd_png() -> list[Case]:
    png = saved(PLAIN, "PNG")
    return [
        case("text_crc.png", "PNG, damaged text", with_chunk(png, b"tEXt", b"a\0b", False), **SHOWN, warning="tEXt"),
        case("text_bomb.png", "PNG with a text of 64 MB", lambda: text_bomb(b"zTXt"), **SHOWN),
        case("itxt_bomb.png", "PNG with an international text of 64 MB", lambda: text_bomb(b"iTXt"), **SHOWN),
        case("profile_bomb.png", "PNG with a profile of 64 MB", profile_bomb, **SHOWN, warning="profile"),
        case(
            "profile_noise.png",
            "PNG with a damaged profile",
            with_chunk(png, b"iCCP", b"a\0\0noise"),
            **SHOWN,
            warning="profile",
        ),
        case("exif_noise.png", "PNG with damaged EXIF", with_chunk(png, b"eXIf", b"noise"), **SHOWN, warning="EXIF"),
        case(
            "exif_crc.png",
            "PNG with EXIF of a wrong checksum",
            with_chunk(png, b"eXIf", exif(6), False),
            **SHOWN,
            warning="EXIF",
        ),
        case("many_texts.png", "PNG with 3,000 texts", many_texts, **SHOWN),
        case("sizes.png", "PNG with a resolution of the wrong length", with_chunk(png, b"pHYs", b"\0"), **SHOWN),
        case("private.png", "PNG with an unknown chunk", with_chunk(png, b"prVt", bytes(300)), **SHOWN),
        case("many_damaged.png", "PNG with 676 damaged chunks", many_damaged_chunks, **SHOWN, warning="damaged"),
        case("no_end.png", "PNG without its end", png[:-12], **SHOWN),
        case("trailing.png", "PNG followed by other bytes", png + bytes(range(256)) * 40, **SHOWN),
        case("half.png", "PNG that is cut off", halves(saved(PHOTOGRAPH, "PNG")), status=422),
    ]


def _odd_others() -> list[Case]:
    webp = extended_webp(PLAIN)
    return [
        case(
            "exif_noise.webp",
            "WebP with damaged EXIF",
            saved(PLAIN, "WEBP", exif=b"Exif\0\0noise noise"),
            **SHOWN,
            warning="EXIF",
        ),
        case(
            "profile_noise.webp",
            "WebP with a damaged profile",
            saved(PLAIN, "WEBP", icc_profile=bytes(range(200))),
            **SHOWN,
            warning="profile",
        ),
        case(
            "unannounced.webp",
            "WebP with metadata that its header does not announce",
            with_riff_chunk(webp, b"XMP ", bytes(range(256)) * 9),
            **SHOWN,
        ),
        case("trailing.webp", "WebP followed by other bytes", webp + bytes(range(256)) * 40, **SHOWN),
        case(
            "metadata_cut.webp",
            "WebP whose metadata is cut off",
            with_riff_chunk(webp, b"XMP ", bytes(5000))[:-3000],
            **SHOWN,
        ),
        case("half.webp", "WebP that is cut off", halves(saved(PHOTOGRAPH, "WEBP")), status=422),
        case("exif_behind.tiff", "TIFF whose EXIF lies behind its end", damaged_tiff(), **SHOWN),
        case("half.tiff", "TIFF that is cut off", halves(tiff(PHOTOGRAPH, "tiff_lzw", strip_size=2048)), status=422),
        case("half.heic", "HEIC that is cut off", lambda: halves(write_heic(np.asarray(PHOTOGRAPH))), status=422),
        case("half.avif", "AVIF that is cut off", halves(saved(PHOTOGRAPH, "AVIF")), status=422),
        case("half.bmp", "BMP that is cut off", halves(saved(PHOTOGRAPH, "BMP")), status=422),
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
