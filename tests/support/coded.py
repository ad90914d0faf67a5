"""Films of four colours whose stored numbers are known: any encoder, format, matrix, range, transfer and gamut."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

COLOURS = ((200, 30, 30), (30, 160, 40), (40, 60, 200), (220, 200, 40))  # of the quarters, row by row
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
UNTAGGED, LIMITED, FULL = 2, 1, 2
BT709, BT601, BT2020, P3 = 1, 6, 9, 12
PQ, HLG = 16, 18

Codes = NDArray[np.float64]  # (height, width, 3), 0 to 1


@dataclass(frozen=True)
class Coding:
    """The storage format of a film.

    `space`, `transfer`, `gamut` and `colours` (the range) are FFmpeg's numbers. `matrix` and `full` say what the
    numbers really are where the tags do not.
    """

    encoder: str
    pixels: str
    space: int = UNTAGGED
    colours: int = 0
    matrix: int = 0
    full: bool = False
    transfer: int = UNTAGGED
    gamut: int = UNTAGGED
    options: dict[str, str] = field(default_factory=dict)


def quarters(width: int, height: int) -> Codes:
    """Return the four colours as sRGB codes."""
    codes = np.empty((height, width, 3))
    for number, colour in enumerate(COLOURS):
        rows = slice(height // 2, None) if number > 1 else slice(0, height // 2)
        columns = slice(width // 2, None) if number % 2 else slice(0, width // 2)
        codes[rows, columns] = np.array(colour) / 255
    return codes


def srgb_light(codes: Codes) -> Codes:
    """Return the linear light of sRGB codes."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def srgb_code(light: Codes) -> Codes:
    """Return the sRGB codes of linear light from 0 to 1."""
    light = np.asarray(light).clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def pq(nits: Codes) -> Codes:
    """Return the PQ codes of light in cd/m2."""
    power = (nits.clip(0) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: Codes) -> Codes:
    """Return the HLG codes of linear light in BT.2020 on a screen of 1,000 cd/m2; 1.0 is 203 cd/m2."""
    shown = light * 203 / 1000
    luma = (shown @ np.array([0.2627, 0.6780, 0.0593]))[..., None].clip(1e-9)
    scene = (shown / luma ** (0.2 / 1.2)).clip(0)
    bright = 0.17883277 * np.log((12 * scene - 0.28466892).clip(1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def in_gamut(light: Codes, gamut: int) -> Codes:
    """Convert linear light of BT.709 to the gamut BT2020 or P3."""
    p3 = [[0.8224620, 0.1775380, 0.0], [0.0331942, 0.9668058, 0.0], [0.0170826, 0.0723974, 0.9105199]]
    bt2020 = [[0.6274039, 0.3292830, 0.0433131], [0.0690973, 0.9195404, 0.0113623], [0.0163914, 0.0880133, 0.8955953]]
    return light @ np.array(p3 if gamut == P3 else bt2020).T


def write_coded(path: Path, coding: Coding, codes: Codes, count: int = 3) -> Path:
    """Write `count` equal frames of RGB `codes`, which are in the film's own transfer and gamut."""
    frame = _frame(coding, codes)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(coding.encoder, rate=25, options=coding.options)
        stream.height, stream.width = codes.shape[:2]
        stream.pix_fmt = coding.pixels
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace, context.color_range = coding.space, coding.colours
        context.color_trc, context.color_primaries = coding.transfer, coding.gamut
        for number in range(count):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def _frame(coding: Coding, codes: Codes) -> av.VideoFrame:
    deep = np.round(codes * 65535).astype(np.uint16)
    if coding.pixels.startswith(("rgb", "bgr", "gbr", "0rgb", "argb", "pal")):
        frame = av.VideoFrame.from_ndarray(deep, format="rgb48le").reformat(format=coding.pixels)
    else:
        frame = _yuv(coding, codes)
    frame.colorspace, frame.color_range = coding.space, coding.colours
    frame.color_trc, frame.color_primaries = coding.transfer, coding.gamut
    return frame


def _yuv(coding: Coding, codes: Codes) -> av.VideoFrame:
    red, blue = WEIGHTS[coding.matrix or (5 if coding.space == BT601 else coding.space)]
    full = coding.full or coding.colours == FULL
    light = codes @ np.array([red, 1 - red - blue, blue])
    colour = [(codes[..., 2] - light) / (2 - 2 * blue), (codes[..., 0] - light) / (2 - 2 * red)]
    if full:
        planes = [light * 255, *(part * 255 + 128 for part in colour)]
    else:
        planes = [16 + light * 219, *(part * 224 + 128 for part in colour)]
    numbers = np.round(np.stack(planes, axis=-1) * 256).clip(0, 65535).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(numbers, format="yuv444p16le", channel_last=True)
    if coding.pixels.startswith("gray"):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(numbers[..., 0]), format="gray16le")
        return frame.reformat(format=coding.pixels)
    kind = FULL if full else LIMITED
    return frame.reformat(
        format=coding.pixels, src_colorspace=1, dst_colorspace=1, src_color_range=kind, dst_color_range=kind
    )


def centres(frame: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the colours in the middle of the quarters, (4, 3)."""
    height, width, _ = frame.shape
    return np.array([frame[height * y // 4, width * x // 4] for y in (1, 3) for x in (1, 3)], np.int64)
