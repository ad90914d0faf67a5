from app.video.nal_units import is_idr
from app.video.needed_packets import NeededPackets


def decoded(needed: list[int], restarts: list[int], packets: list[int]) -> list[int]:
    """Return the packets that reach the decoder until it is drained."""
    choice, sent = NeededPackets(needed, restarts), []
    for stamp in packets:
        if choice.must_decode(stamp):
            sent.append(stamp)
            choice.sent(stamp)
        if choice.are_complete:
            break
    return sent


def test_packets_after_the_last_needed_frame_are_skipped() -> None:
    assert decoded([2, 13], [0, 4, 8, 12], list(range(16))) == [0, 1, 2, 12, 13]


def test_leading_frames_of_a_key_frame_are_kept() -> None:
    packets = [0, 3, 1, 2, 8, 5, 4, 6, 7, 11, 9, 10]  # 4 to 7 are shown before the key frame 8 and come after it
    assert decoded([6, 9], [0, 8], packets) == [0, 3, 1, 2, 8, 5, 4, 6, 11, 9]
    assert decoded([2, 9], [0, 8], packets) == [0, 3, 1, 2, 8, 11, 9]


def test_every_packet_is_decoded_where_restarts_are_unknown() -> None:
    assert decoded([2], [], list(range(6))) == list(range(6))


def test_packets_without_a_timestamp_are_decoded() -> None:
    assert NeededPackets([5], [0, 4]).must_decode(None)


def test_a_packet_that_is_an_idr_picture() -> None:
    def packet(*units: bytes) -> memoryview:
        return memoryview(b"".join(len(unit).to_bytes(4, "big") + unit for unit in units))

    assert is_idr("h264", packet(b"\x06\x05", b"\x65\x88"), 4)  # SEI, then IDR
    assert not is_idr("h264", packet(b"\x06\x05", b"\x41\x9a"), 4)
    assert is_idr("hevc", packet(b"\x4e\x01", b"\x26\x01"), 4)
    assert not is_idr("hevc", packet(b"\x2a\x01"), 4), "CRA: frames before it may still be referred to"
    assert not is_idr("vp9", packet(b"\x65"), 4)
