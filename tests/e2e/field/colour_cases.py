"""Files whose stored numbers are not the colours that people see: HDR, ranges, profiles, transparency."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from tests.e2e.field.case import Case
from tests.support.coded import (
    BT601,
    BT709,
    BT2020,
    FULL,
    HLG,
    LIMITED,
    P3,
    PQ,
    Codes,
    Coding,
    hlg,
    in_gamut,
    pq,
    quarters,
    srgb_code,
    srgb_light,
    write_coded,
)
from tests.support.films import Frame
from tests.support.profiles import ADOBE_RGB, SRGB, cmyk_profile, grey_profile, rgb_profile

GROUP = "Geometry and colour"


COLOURS = ("red", "green", "blue", "yellow")


ON_PAPER = ("red", "white", "white", "yellow")


SD, HD = (320, 240), (1280, 720)


COUNT = 12


X264, X265 = {"crf": "6"}, {"x265-params": "log-level=none:pools=1", "crf": "8"}


VPX = {"deadline": "realtime", "cpu-used": "8", "b": "8000000", "qmin": "0", "qmax": "6", "auto-alt-ref": "0"}


SHARP = {"qscale": "2", "flags": "+qscale", "global_quality": "236"}


_TAGGED = (BT2020, LIMITED)


def _pq(light: Codes) -> Codes:
    return pq(203 * in_gamut(light, BT2020))


def _hlg(light: Codes) -> Codes:
    return hlg(in_gamut(light, BT2020))


def _sdr(gamut: int) -> Callable[[Codes], Codes]:
    return lambda light: srgb_code(in_gamut(light, gamut))


# File name, description, size, coding, and the function from linear light to its transfer and gamut
_CODED: tuple[tuple[str, str, tuple[int, int], Coding, Callable[[Codes], Codes] | None], ...] = (
    ("pq_10bit.mp4", "HEVC, PQ in BT.2020", SD,
     Coding("libx265", "yuv420p10le", *_TAGGED, transfer=PQ, gamut=BT2020, options=X265), _pq),
    ("pq_full_range.mkv", "HEVC, PQ, full range", SD,
     Coding("libx265", "yuv444p12le", BT2020, FULL, transfer=PQ, gamut=BT2020, options=X265), _pq),
    ("pq_h264.mp4", "H.264, PQ", SD, Coding("libx264", "yuv420p10le", *_TAGGED, transfer=PQ, gamut=BT2020), _pq),
    ("hlg_phone.mov", "HEVC, HLG, as phones record it", SD,
     Coding("libx265", "yuv420p10le", *_TAGGED, transfer=HLG, gamut=BT2020, options=X265), _hlg),
    ("hlg_prores.mov", "ProRes, HLG", SD,
     Coding("prores_ks", "yuv422p10le", *_TAGGED, transfer=HLG, gamut=BT2020), _hlg),
    ("bt2020_sdr.mkv", "BT.2020 of standard range", SD,
     Coding("libx264", "yuv420p10le", *_TAGGED, transfer=14, gamut=BT2020, options=X264), _sdr(BT2020)),
    ("display_p3.mov", "ProRes in Display P3", SD,
     Coding("prores_ks", "yuv422p10le", BT709, LIMITED, transfer=1, gamut=P3), _sdr(P3)),
    ("untagged_hd_vp9.webm", "VP9, 1280x720, no colour tags", HD,
     Coding("libvpx-vp9", "yuv420p", matrix=1, options=VPX), None),
    ("untagged_hd_portrait.mov", "H.264, 720x1280, no colour tags", HD[::-1],
     Coding("libx264", "yuv420p", matrix=1, options=X264), None),
    ("untagged_hd_prores.mov", "ProRes, 1280x720, no colour tags", HD,
     Coding("prores_ks", "yuv422p10le", matrix=1), None),
    ("untagged_sd.mp4", "H.264, 320x240, no colour tags", SD,
     Coding("libx264", "yuv420p", matrix=5, options=X264), None),
    ("bt709_small.mp4", "H.264, 320x240, tagged BT.709", SD,
     Coding("libx264", "yuv420p", BT709, LIMITED, options=X264), None),
    ("bt601_large.mp4", "H.264, 1280x720, tagged BT.601", HD,
     Coding("libx264", "yuv420p", BT601, LIMITED, options=X264), None),
    ("full_range.mp4", "H.264, full range", SD, Coding("libx264", "yuvj420p", BT709, FULL, options=X264), None),
    ("full_range_hevc.mkv", "HEVC, full range", SD, Coding("libx265", "yuv420p", BT601, FULL, options=X265), None),
    ("full_range_av1.mp4", "AV1 of 10 bits, full range", SD,
     Coding("libsvtav1", "yuv420p10le", BT709, FULL, options={"preset": "10", "crf": "8"}), None),
    ("smpte240m.mkv", "H.264 4:4:4, SMPTE 240M", SD,
     Coding("libx264", "yuv444p", 7, LIMITED, options=X264), None),
    ("fcc.ts", "H.264, FCC's matrix", SD, Coding("libx264", "yuv420p", 4, LIMITED, options=X264), None),
    ("rgb_h264.mp4", "H.264 in RGB", SD, Coding("libx264rgb", "rgb24", 0, FULL, options=X264), None),
    ("rgb_vp9.webm", "VP9 in RGB", SD, Coding("libvpx-vp9", "gbrp", 0, FULL, options=VPX), None),
    ("mjpeg_hd.avi", "Motion JPEG, 1280x720", HD,
     Coding("mjpeg", "yuvj422p", matrix=5, full=True, options=SHARP), None),
    ("vp8_hd.webm", "VP8, 1280x720, BT.601 by its standard", HD,
     Coding("libvpx", "yuv420p", matrix=5, options=VPX), None),
    ("raw_uyvy.mov", "uncompressed 4:2:2", SD, Coding("rawvideo", "uyvy422", matrix=5), None),
    ("dnxhd.mov", "DNxHD", HD, Coding("dnxhd", "yuv422p", BT709, LIMITED, options={"b": "90000000"}), None),
)  # fmt: skip


def cases() -> list[Case]:
    """Return the cases of this module."""
    return [*_colours(), *_transparent(), *_profiles()]


def quarters_case(file: str, make: Callable[[Path], object], why: str, **right: Any) -> Case:
    return Case(file, make, why, GROUP, **({"model": "frame_quality", "within": 12} | right))


def quarters_picture(width: int = 320, height: int = 240) -> Frame:
    return np.round(quarters(width, height) * 255).astype(np.uint8)


def _colours() -> list[Case]:
    def film(size: tuple[int, int], coding: Coding, coded: Callable[[Codes], Codes] | None) -> Callable[[Path], object]:
        codes = quarters(*size)
        numbers = codes if coded is None else coded(srgb_light(codes))
        return lambda path: write_coded(path, coding, numbers, COUNT)

    return [
        quarters_case(file, film(size, coding, coded), why, quarters=COLOURS, size=size)
        for file, why, size, coding, coded in _CODED
    ]


def _transparent() -> list[Case]:
    films = {
        "clear_prores.mov": ("prores_ks", "yuva444p10le", {}, "ProRes 4444"),
        "clear_qtrle.mov": ("qtrle", "argb", {}, "QuickTime Animation"),
        "clear_ffv1.mkv": ("ffv1", "yuva420p", {}, "FFV1"),
        "clear_vp8.webm": ("libvpx", "yuva420p", VPX, "VP8"),
        "clear_vp9.mkv": ("libvpx-vp9", "yuva420p", VPX, "VP9"),
    }  # fmt: skip
    cases = [
        quarters_case(file, _clear_film(codec, pixels, options), f"{what}, two quarters transparent", quarters=ON_PAPER)
        for file, (codec, pixels, options, what) in films.items()
    ]
    return [
        *cases,
        quarters_case("clear.gif", _clear_gif, "GIF, two quarters transparent", quarters=ON_PAPER, within=20),
    ]


def _profiles() -> list[Case]:
    wide = np.linalg.inv(np.array(ADOBE_RGB).T) @ np.array(SRGB).T
    codes = (srgb_light(quarters(*SD)) @ wide.T).clip(0, 1) ** (1 / 2.19921875)
    adobe = np.round(codes * 255).astype(np.uint8)

    def saved(pixels: Frame, profile: bytes) -> Callable[[Path], object]:
        options: dict[str, Any] = {"quality": 95, "subsampling": 0}
        return lambda path: Image.fromarray(pixels).save(path, icc_profile=profile, **options)

    return [
        quarters_case("adobe_rgb.png", saved(adobe, rgb_profile()), "PNG in Adobe RGB", quarters=COLOURS),
        quarters_case("adobe_rgb.jpg", saved(adobe, rgb_profile()), "JPEG in Adobe RGB", quarters=COLOURS, within=16),
        quarters_case("adobe_rgb.webp", saved(adobe, rgb_profile()), "WebP in Adobe RGB", quarters=COLOURS, within=20),
        quarters_case(
            "grey_profile.png",
            saved(quarters_picture(), grey_profile(1.0)),
            "PNG in colours, a profile for grey",
            quarters=COLOURS,
        ),
        quarters_case(
            "cmyk_profile.png",
            saved(quarters_picture(), cmyk_profile()),
            "PNG in RGB, a profile for CMYK",
            quarters=COLOURS,
        ),
    ]


def _clear() -> Frame:
    """Return the four colours in RGBA; green and blue are transparent."""
    rgba = np.dstack([quarters_picture(), np.full((240, 320), 255, np.uint8)])
    rgba[:120, 160:, 3] = rgba[120:, :160, 3] = 0
    return rgba


def _clear_film(codec: str, pixels: str, options: dict[str, str]) -> Callable[[Path], object]:
    def make(path: Path) -> object:
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 320, 240, pixels
            for number in range(COUNT):
                frame = av.VideoFrame.from_ndarray(_clear(), format="rgba")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
        return path

    return make


def _clear_gif(path: Path) -> object:
    frames = [Image.fromarray(np.roll(_clear(), 2 * number, axis=0)) for number in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40, loop=0, disposal=2)
    return path
