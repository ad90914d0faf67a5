"""Conversion of high dynamic range and wide gamuts to sRGB with NumPy, on frames that are already small.

Light is linear, and 1.0 is the white of an sRGB screen, which stands for 203 cd/m2 (ITU-R BT.2408). Light up to
`KNEE` is unchanged; brighter light is compressed so that `PEAK_NITS` becomes white. Hues are kept.
"""

from functools import cache
from typing import TypeVar

import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

WHITE_NITS, PEAK_NITS = 203.0, 1000.0
KNEE = 0.8
STEPS = 1 << 16  # entries of a lookup table

Number = TypeVar("Number", np.float32, np.uint8)
Light = NDArray[np.float32]  # (height, width, 3)

HDR = frozenset((int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)))

# Linear RGB of these primaries to linear RGB of BT.709, both with white D65 (DCI-P3's own white is treated as D65)
_P3 = ((1.2249402, -0.2249402, 0.0), (-0.0420570, 1.0420570, 0.0), (-0.0196376, -0.0786361, 1.0982736))
_TO_BT709 = {
    int(ColorPrimaries.BT2020): (
        (1.6604910, -0.5876411, -0.0728499), (-0.1245505, 1.1328999, -0.0083494), (-0.0181508, -0.1005789, 1.1187297),
    ),
    int(ColorPrimaries.SMPTE431): _P3,
    int(ColorPrimaries.SMPTE432): _P3,
}  # fmt: skip
WIDE = frozenset(_TO_BT709)

# ITU-R BT.2100, tables 7 and 8: ICtCp to L'M'S' for PQ and for HLG, linear LMS to linear RGB of BT.2020
_ICTCP_PQ = ((1, 0.008609, 0.111029), (1, -0.008609, -0.111029), (1, 0.560031, -0.320627))
_ICTCP_HLG = ((1, 0.015718, 0.209581), (1, -0.015718, -0.209581), (1, 1.021271, -0.605274))
_LMS_TO_RGB = ((3.436607, -2.506452, 0.069845), (-0.791330, 1.983600, -0.192271), (-0.025950, -0.098914, 1.124864))
_LUMA_BT2020 = (0.2627, 0.6780, 0.0593)


def to_srgb(codes: Light, transfer: int, primaries: int, ictcp: bool = False) -> NDArray[np.uint8]:
    """Return the 8-bit sRGB pixels of RGB codes.

    Args:
        codes: float32 (height, width, 3), 0 to 1.
        transfer: FFmpeg's number of the transfer characteristics.
        primaries: FFmpeg's number of the primaries.
        ictcp: Whether the codes are ICtCp instead of RGB.
    """
    if ictcp:
        codes = codes @ _rows(_ICTCP_HLG if transfer == ColorTrc.ARIB_STD_B67 else _ICTCP_PQ)
    light = _look_up(_light(transfer), codes)
    if ictcp:
        light = light @ _rows(_LMS_TO_RGB)
    if transfer == ColorTrc.ARIB_STD_B67:
        scene = np.maximum(light @ np.array(_LUMA_BT2020, np.float32), 1e-6)
        light = light * (PEAK_NITS / WHITE_NITS * scene**0.2)[..., None]
    hdr = transfer in HDR
    gamut = int(ColorPrimaries.BT2020) if hdr and primaries == ColorPrimaries.UNSPECIFIED else primaries
    if gamut in _TO_BT709:
        light = light @ _rows(_TO_BT709[gamut])
    return _look_up(_srgb(), _compress(light) if hdr else light)


def _compress(light: Light) -> Light:
    """Compress light above the knee to below 1, scaled by its brightest channel."""
    brightest = light.max(axis=-1, keepdims=True)
    excess = np.maximum(brightest - KNEE, 0) / (1 - KNEE)
    maximum = (PEAK_NITS / WHITE_NITS - KNEE) / (1 - KNEE)
    compressed_peak = np.minimum(brightest, KNEE) + (1 - KNEE) * excess * (1 + excess / maximum**2) / (1 + excess)
    result: Light = light * (compressed_peak / np.maximum(brightest, 1e-6))
    return result


def _rows(matrix: tuple[tuple[float, ...], ...]) -> NDArray[np.float32]:
    return np.array(matrix, np.float32).T


def _look_up(table: NDArray[Number], values: Light) -> NDArray[Number]:
    return table[(values.clip(0, 1) * (STEPS - 1) + 0.5).astype(np.uint16)]


@cache
def _light(transfer: int) -> NDArray[np.float32]:
    """Return a table of the linear light of codes 0 to 1: of the display, or for HLG of the scene."""
    code = np.linspace(0, 1, STEPS)
    if transfer == ColorTrc.SMPTE2084:
        power = code ** (1 / 78.84375)
        light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        light *= 10_000 / WHITE_NITS
    elif transfer == ColorTrc.ARIB_STD_B67:
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    elif transfer == ColorTrc.LINEAR:
        light = code
    elif transfer in (ColorTrc.GAMMA22, ColorTrc.GAMMA28):
        light = code ** (2.2 if transfer == ColorTrc.GAMMA22 else 2.8)
    else:  # BT.709 and similar transfers are shown as sRGB, as on every screen
        light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return np.asarray(light, np.float32)


@cache
def _srgb() -> NDArray[np.uint8]:
    """Return a table of the 8-bit sRGB codes of linear light 0 to 1."""
    light = np.linspace(0, 1, STEPS)
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(code * 255), np.uint8)
