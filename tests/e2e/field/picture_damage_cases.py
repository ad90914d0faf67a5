"""Damaged, truncated and unusual pictures, and what is right for them."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from tests.e2e.field.case import Case
from tests.e2e.field.heif import write_heic
from tests.e2e.field.picture_cases import PHOTOGRAPH, PLAIN, SHOWN, case
from tests.e2e.field.picture_files import (
    commented,
    damaged_tiff,
    exif,
    extended_webp,
    halves,
    many_damaged_chunks,
    many_texts,
    profile_bomb,
    saved,
    srgb,
    text_bomb,
    tiff,
    turned,
    ultra_hdr,
    with_chunk,
    with_exif,
    with_riff_chunk,
    with_segment,
)


def cases() -> list[Case]:
    """Return the cases of this module."""
    return [*_odd_jpeg(), *_odd_png(), *_odd_others()]


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
