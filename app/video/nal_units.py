"""NAL units in a packet of H.264 or HEVC: in intact files they fill it exactly.

In MP4 and Matroska each unit follows its length. The decoder configuration gives the size of the length field:
ISO/IEC 14496-15, `lengthSizeMinusOne` of the AVCDecoderConfigurationRecord and the HEVCDecoderConfigurationRecord.
"""

_OFFSET = {"h264": 4, "hevc": 21}  # offset of the byte whose last two bits are lengthSizeMinusOne


def length_bytes(codec: str, configuration: bytes | None) -> int:
    """Return the size of a unit's length field in bytes; 0 if units are separated by start codes or unknown."""
    offset = _OFFSET.get(codec, 0)
    if not offset or not configuration or len(configuration) <= offset or configuration[0] != 1:
        return 0
    return (configuration[offset] & 3) + 1


def fills_packet(packet: memoryview, lengths: int) -> bool:
    """Return whether units, each after a length field of `lengths` bytes, end exactly at the end of the packet."""
    position, size = 0, len(packet)
    while position + lengths <= size:
        position += lengths + int.from_bytes(packet[position : position + lengths], "big")
    return position == size
