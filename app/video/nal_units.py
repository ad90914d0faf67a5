"""NAL units in a packet of H.264 or HEVC: in intact files they fill it exactly.

In MP4 and Matroska each unit follows its length. The decoder configuration gives the size of the length field:
ISO/IEC 14496-15, `lengthSizeMinusOne` of the AVCDecoderConfigurationRecord and the HEVCDecoderConfigurationRecord.
"""

_PLACE = {"h264": 4, "hevc": 21}  # offset of the byte whose last two bits are lengthSizeMinusOne


def length_bytes(codec: str, configuration: bytes | None) -> int:
    """Return the size of a unit's length field in bytes; 0 if units are separated by start codes or unknown."""
    place = _PLACE.get(codec, 0)
    if not place or not configuration or len(configuration) <= place or configuration[0] != 1:
        return 0
    return (configuration[place] & 3) + 1


def fill(packet: memoryview, lengths: int) -> bool:
    """Return whether units, each after a length field of `lengths` bytes, end exactly at the end of the packet."""
    at, size = 0, len(packet)
    while at + lengths <= size:
        at += lengths + int.from_bytes(packet[at : at + lengths], "big")
    return at == size
