"""ICC profiles made here: RGB with any primaries and gamma, grey with any gamma, CMYK by a table (ICC.1:2001)."""

import itertools
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageCms

D50 = (0.9642, 1.0, 0.8249)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))

SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def rgb_profile(primaries: Sequence[Sequence[float]] = ADOBE_RGB, gamma: float = 2.19921875) -> bytes:
    """Return a profile whose red, green and blue have these XYZ values, for white D50; Adobe RGB (1998) by default."""
    tags = {name: _xyz(primary) for name, primary in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """Return the profile of a press that swaps cyan and magenta."""
    inks = np.array(list(itertools.product((0, 1), repeat=4)))
    shown = (1 - inks[:, [1, 0, 2]]) * (1 - inks[:, 3:])
    colours = Image.fromarray((shown[None] * 255).astype(np.uint8))
    lab = ImageCms.createProfile("LAB")
    way = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    table = np.asarray(ImageCms.applyTransform(colours, way)).reshape(-1, 3).copy()
    table[:, 1:] ^= 0x80  # Pillow keeps a and b as signed bytes, the table from 0
    identity = np.array([1, 0, 0, 0, 1, 0, 0, 0, 1]) << 16
    curves = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity.astype(">i4").tobytes()
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut + 4 * curves + table.tobytes() + 3 * curves})


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH2x", 1, round(gamma * 256))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"wtpt": _xyz(D50), b"cprt": b"text" + bytes(4) + b"none\0\0\0\0"} | tags
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02400000, kind, space, connection, b"acsp")
    head += _xyz(D50)[8:] + bytes(128 - len(head) - 12)
    return head + struct.pack(">I", len(tags)) + table + body
