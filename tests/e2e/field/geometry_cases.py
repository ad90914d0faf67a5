"""Films whose stored frames are not the picture: orientation, shape of pixels, and fields."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from app.media.geometry import Crop
from tests.e2e.field.case import Case
from tests.e2e.field.colour_cases import COLOURS, COUNT, SHARP, X264, quarters_case, quarters_picture
from tests.support.films import write_video
from tests.support.odd_films import interlaced, with_clean_aperture, with_pixel_crop
from tests.support.paff import write_paff


def cases() -> list[Case]:
    """Return the cases of this module."""
    return [*_orientations(), *_shapes(), *_fields()]


def _orientations() -> list[Case]:
    cases = []
    for suffix, codec in (("mp4", "libx264"), ("mkv", "libx264"), ("mov", "mjpeg")):
        for rotation in (0, 90, 180, 270):
            for mirrored in (False, True):
                if (rotation, mirrored) != (0, False) and (suffix == "mp4" or mirrored):
                    cases.append(_turned(suffix, codec, rotation, mirrored))
    return cases


def _turned(suffix: str, codec: str, rotation: int, mirrored: bool) -> Case:
    sideways = bool(rotation % 180)
    shown = quarters_picture(240, 320) if sideways else quarters_picture()
    stored = np.ascontiguousarray(np.rot90(shown[:, ::-1] if mirrored else shown, rotation // 90))

    def make(path: Path) -> object:
        pixels = "yuvj444p" if codec == "mjpeg" else "yuv444p"
        options = SHARP if codec == "mjpeg" else X264
        return write_video(
            path, [stored] * COUNT, codec=codec, pixels=pixels, rotation=rotation, mirrored=mirrored, options=options
        )

    return quarters_case(
        f"turned_{rotation}{'_mirrored' if mirrored else ''}.{suffix}",
        make,
        f"{codec.removeprefix('lib')}, to be turned by {rotation}°{' and mirrored' if mirrored else ''}",
        rotation=rotation,
        mirrored=mirrored,
        quarters=COLOURS,
        size=(240, 320) if sideways else (320, 240),
    )


def _shapes() -> list[Case]:
    def stretched(aspect: Fraction, codec: str = "libx264", rotation: int = 0) -> Callable[[Path], object]:
        picture = np.ascontiguousarray(np.rot90(quarters_picture(), rotation // 90))
        options = X264 if codec == "libx264" else SHARP
        return lambda path: write_video(
            path, [picture] * COUNT, codec=codec, aspect=aspect, rotation=rotation, options=options
        )

    def cropped(path: Path) -> object:
        crop = with_pixel_crop if path.suffix == ".mkv" else with_clean_aperture
        frame = np.zeros((280, 400, 3), np.uint8)
        frame[20:260, 30:350] = quarters_picture()
        whole = path.with_name(f"whole_{path.name}")
        container = {"live": "1"} if path.suffix == ".mkv" else {}
        write_video(whole, [frame] * COUNT, pixels="yuv444p", options=X264, container=container)
        crop(whole, path, Crop(30, 20, 50, 20))
        whole.unlink()
        return path

    shown = {"quarters": COLOURS}
    return [
        quarters_case(
            "pixels_2_1.mkv", stretched(Fraction(2)), "pixels of 2:1 (display size)", size=(640, 240), **shown
        ),
        quarters_case(
            "pixels_16_15.mpg",
            stretched(Fraction(4, 3), "mpeg2video"),
            "MPEG-2 whose picture is 16:9",
            size=(427, 240),
            **shown,
        ),
        quarters_case("pixels_1_2.mp4", stretched(Fraction(1, 2)), "pixels of 1:2", size=(160, 240), **shown),
        quarters_case(
            "pixels_4_3.avi", stretched(Fraction(4, 3), "mpeg4"), "MPEG-4, pixels of 4:3", size=(427, 240), **shown
        ),
        quarters_case(
            "pixels_sideways.mov",
            stretched(Fraction(3, 2), rotation=90),
            "pixels of 3:2, to be turned by 90°",
            size=(320, 360),
            rotation=90,
        ),
        quarters_case("pixel_crop.mkv", cropped, "Matroska's PixelCrop hides a black edge", size=(320, 240), **shown),
        quarters_case("clean_aperture.mp4", cropped, "a clean aperture hides a black edge", size=(320, 240), **shown),
    ]


def _fields() -> list[Case]:
    def film(name: str) -> Callable[[Path], object]:
        return lambda path: interlaced(path.parent, name, scale=3)[0].rename(path)

    names = {
        "h264 mov": "H.264, top field first", "h264 ts": "H.264, bottom field first", "mpeg2 mpg": "MPEG-2",
        "mpeg2 mkv": "MPEG-2 of 4:2:2", "prores mov": "ProRes", "ffv1 mkv": "FFV1",
    }  # fmt: skip
    greys = [(40 + 5 * number, 60 + 5 * number) for number in range(25)]
    return [
        quarters_case(
            "paff.ts", lambda path: write_paff(path, greys), "H.264 of single fields", frames=25, duration_s=1
        ),
        quarters_case(
            "paff_apart.ts",
            lambda path: write_paff(path, greys, apart=True),
            "H.264, a packet for each field",
            frames=25,
            duration_s=1,
        ),
        quarters_case(
            "paff_apart.mkv",
            lambda path: write_paff(path, greys, apart=True),
            "the same in Matroska",
            frames=25,
            duration_s=1,
        ),
    ] + [
        quarters_case(
            f"interlaced_{name.replace(' ', '.')}", film(name), f"{what}: a pan in fields of two moments", **right
        )
        for name, what in names.items()
        for right in ({"model": "camera_motion", "label": "pan_right"},)
    ]
