"""AVI files in the layout of old encoders, which today's muxers do not write."""

import struct
from collections.abc import Iterable
from fractions import Fraction

import av

from tests.support.films import Frame

Chunk = tuple[bool, bytes]  # whether it is a key frame, and its bytes


def write_avi(chunks: list[Chunk], width: int, height: int, fps: int) -> bytes:
    """An AVI 1.0 of one MPEG-4 stream with an index; an empty chunk repeats the frame before."""
    header = struct.pack("<14I", 1_000_000 // fps, 0, 0, 0x10, len(chunks), 0, 1, 1 << 16, width, height, 0, 0, 0, 0)
    stream = b"vidsXVID" + struct.pack("<IHHIIIIIIII4h", 0, 0, 0, 0, 1, fps, 0, len(chunks), 1 << 16, 0, 0, *[0] * 4)
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"XVID", width * height * 3, 0, 0, 0, 0)
    lists = _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", form))
    body, index = b"movi", b""
    for is_key, data in chunks:
        index += b"00dc" + struct.pack("<III", 0x10 if is_key else 0, len(body), len(data))
        body += _chunk(b"00dc", data)
    content = _list(b"hdrl", _chunk(b"avih", header) + lists) + _chunk(b"LIST", body) + _chunk(b"idx1", index)
    return _chunk(b"RIFF", b"AVI " + content)


def mpeg4_chunks(frames: Iterable[Frame], gop: int, b_frames: int) -> list[tuple[int, Chunk]]:
    """MPEG-4 frames in decoding order, each with the number at which it is shown."""
    encoder, packets = av.CodecContext.create("mpeg4", "w"), []
    for number, picture in enumerate(frames):
        if number == 0:
            encoder.height, encoder.width, encoder.pix_fmt = *picture.shape[:2], "yuv420p"
            encoder.time_base, encoder.gop_size, encoder.bit_rate = Fraction(1, 30), gop, 800_000
            encoder.options, encoder.thread_count = {"bf": str(b_frames), "flags": "-global_header"}, 1
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [(packet.pts or 0, (packet.is_keyframe, bytes(packet))) for packet in packets]


def packed(chunks: list[tuple[int, Chunk]]) -> list[Chunk]:
    """As Xvid and DivX pack them: a frame and the one shown before it in one chunk, then an empty picture."""
    made: list[Chunk] = []
    rest = list(chunks)
    while rest:
        shown, (is_key, data) = rest.pop(0)
        if is_key:  # the encoder's name, from which decoders detect the packing
            at = data.find(b"\0\0\1\xb6")
            data = data[:at] + b"\0\0\1\xb2DivX503b1393p" + data[at:]
        if rest and rest[0][0] < shown:
            made += [(is_key, data + rest.pop(0)[1][1]), (False, b"\0\0\1\xb6\x50\x4f")]
        else:
            made.append((is_key, data))
    return made


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _list(name: bytes, data: bytes) -> bytes:
    return _chunk(b"LIST", name + data)
