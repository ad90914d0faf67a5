"""The NAL units of a packet of H.264 or HEVC: whether they fill it, as they do in every file that is whole.

In MP4 and Matroska each unit stands behind its length. How many bytes a length has stands in the decoder's
configuration: ISO/IEC 14496-15, `lengthSizeMinusOne` of the AVCDecoderConfigurationRecord and the
HEVCDecoderConfigurationRecord.
"""

_PLACE = {"h264": 4, "hevc": 21}  # of the byte whose last two bits are lengthSizeMinusOne


def length_bytes(codec: str, configuration: bytes | None) -> int:
    """How many bytes a unit's length has; 0 where units are divided otherwise, by start codes for one."""
    place = _PLACE.get(codec, 0)
    if not place or not configuration or len(configuration) <= place or configuration[0] != 1:
        return 0
    return (configuration[place] & 3) + 1


def fill(packet: memoryview, lengths: int) -> bool:
    """Whether units, each behind a length of `lengths` bytes, end where the packet does."""
    at, size = 0, len(packet)
    while at + lengths <= size:
        at += lengths + int.from_bytes(packet[at : at + lengths], "big")
    return at == size
