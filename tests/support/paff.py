"""H.264 whose pictures are single fields, made from small frames by new headers: no encoder here writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

START = b"\0\0\0\1"
RATE = 25
ENCODER = {
    "x264-params": "keyint=1:cabac=0:8x8dct=0:slices=1:ref=1:bframes=0:weightp=0:no-deblock=1:aud=0:sei=0",
    "crf": "10",
}


class Bits:
    """Read bits of a NAL unit from its second byte on, and write those of another."""

    def __init__(self, unit: bytes) -> None:
        body = unit[1:].replace(b"\0\0\3", b"\0\0")
        text = "".join(f"{byte:08b}" for byte in body).rstrip("0")[:-1]  # without the bit that ends it
        self.left, self.written = text, ""

    def copy(self, count: int) -> int:
        taken, self.left = self.left[:count], self.left[count:]
        self.written += taken
        return int(taken or "0", 2)

    def copy_golomb(self) -> int:
        zeros = len(self.left) - len(self.left.lstrip("0"))
        return self.copy(2 * zeros + 1) - 1

    def skip(self, count: int) -> None:
        self.left = self.left[count:]

    def skip_golomb(self) -> None:
        self.skip(2 * (len(self.left) - len(self.left.lstrip("0"))) + 1)

    def unit(self, head: int) -> bytes:
        bits = self.written + self.left + "1"
        bits += "0" * (-len(bits) % 8)
        body = int(bits, 2).to_bytes(len(bits) // 8, "big")
        return START + bytes([head]) + re.sub(b"\0\0(?=[\0-\3])", b"\0\0\3", body)


def fields_of(film: bytes) -> Iterator[bytes]:
    """The NAL units of an all-intra film of baseline profile, its frames made fields: top, bottom, top, and so on."""
    units = [unit.rstrip(b"\0") for unit in film.split(b"\0\0\1")[1:]]
    number_bits = number = 0
    for unit in units:
        bits = Bits(unit)
        if unit[0] & 31 == 7:
            number_bits = _rewrite_sps(bits)
            bits.written = f"{77:08b}" + bits.written[8:]  # main profile
            yield bits.unit(unit[0])
        elif unit[0] & 31 == 8:
            yield START + unit
        elif unit[0] & 31 == 5:
            is_bottom = number % 2
            for _ in range(3):  # first macroblock, type, parameter set
                bits.copy_golomb()
            bits.copy(number_bits)
            bits.written += f"1{is_bottom}"
            if is_bottom:  # the second field does not start a new picture
                bits.skip_golomb()
                bits.skip(2)
                bits.written += "0"
            number += 1
            yield bits.unit(0x61 if is_bottom else 0x65)


def _rewrite_sps(bits: Bits) -> int:
    """Allow fields; return how many bits the number of a frame has."""
    bits.copy(24)
    bits.copy_golomb()
    number_bits = bits.copy_golomb() + 4
    if bits.copy_golomb() == 0:
        raise ValueError("the order of frames is counted")
    bits.copy_golomb()
    bits.copy(1)
    for _ in range(2):  # width, height
        bits.copy_golomb()
    bits.skip(2)
    bits.written += "001"  # not frames alone, none of both, direct_8x8_inference
    return number_bits


def write_paff(path: Path, levels: list[tuple[int, int]], apart: bool = False) -> Path:
    """Write a film of flat frames 128x128, whose top and bottom field have these grey levels.

    The packets that are muxed hold a frame, or with `apart` a field.
    """
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.options = 128, 64, "yuv420p", ENCODER
    encoder.time_base = Fraction(1, 2 * RATE)
    film = b""
    for number, level in enumerate(level for pair in levels for level in pair):
        frame = av.VideoFrame.from_ndarray(np.full((64, 128, 3), level, np.uint8), format="rgb24")
        frame.pts = number
        film += b"".join(bytes(packet) for packet in encoder.encode(frame))
    film += b"".join(bytes(packet) for packet in encoder.encode(None))
    units, packets, held = list(fields_of(film)), [], b""
    for unit in units:
        held += unit
        if unit[4] & 31 == 1 or (apart and unit[4] & 31 == 5):
            packets.append(held)
            held = b""
    with av.open(str(path), "w") as output:
        stream = output.add_mux_stream("h264", rate=RATE, width=128, height=128, pix_fmt="yuv420p")
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, RATE * (2 if apart else 1))
            packet.pts = packet.dts = number
            packet.is_keyframe = not (apart and number % 2)
            output.mux(packet)
    return path
