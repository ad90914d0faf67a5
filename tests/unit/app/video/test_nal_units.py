"""NAL units of packets: lengths, start codes, and truncated units."""

from __future__ import annotations

import pytest

from app.video.nal_units import fills_packet, length_bytes


@pytest.mark.parametrize(
    ("codec", "configuration", "lengths"),
    [
        ("h264", bytes([1, 100, 0, 22, 0xFF, 0xE1]), 4),
        ("h264", bytes([1, 100, 0, 22, 0xFD, 0xE1]), 2),
        ("hevc", bytes([1, *[0] * 20, 0x0F, 0]), 4),
        ("h264", bytes([0, 0, 0, 1, 0x67, 0x64]), 0),  # start codes
        ("h264", b"\1", 0),
        ("h264", None, 0),
        ("mpeg4", bytes([1] * 30), 0),
    ],
)
def test_length_size_comes_from_the_configuration(codec: str, configuration: bytes | None, lengths: int) -> None:
    assert length_bytes(codec, configuration) == lengths


@pytest.mark.parametrize(
    ("packet", "lengths", "whole"),
    [
        (b"\0\0\0\2ab\0\0\0\1c", 4, True),
        (b"\0\2ab", 2, True),
        (b"", 4, True),
        (b"\0\0\0\3ab", 4, False),  # cut off
        (b"\0\0\0\2ab\0", 4, False),
        (b"\xff\xff\xff\xffab", 4, False),
    ],
)
def test_units_must_fill_their_packet(packet: bytes, lengths: int, whole: bool) -> None:
    assert fills_packet(memoryview(packet), lengths) is whole
