"""NAL units in packets of H.264 and HEVC: check of a packet, detection of IDR pictures and of second fields.

In MP4 and Matroska each unit follows its length, whose size is `lengthSizeMinusOne` of the decoder configuration
(ISO/IEC 14496-15). MPEG transport streams and files made of them may have a packet for each field of a frame. Only the
beginning of a packet's first slice is parsed (ITU-T H.264, 7.3.2.1.1 and 7.3.3).
"""

from __future__ import annotations

from collections.abc import Iterator

_OFFSET = {"h264": 4, "hevc": 21}  # offset of the byte whose last two bits are lengthSizeMinusOne
START_CODE = b"\0\0\1"
HEAD_BYTES = 64  # of a unit: a slice's header up to the field flags has about 12
MAX_UNITS = 64  # examined per packet
_SLICES, _PARAMETERS = (1, 5), 7  # types of NAL units
_IDR = {"h264": (5,), "hevc": range(16, 21)}
# Profiles whose parameter sets contain chroma format and scaling
_HIGH = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)


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


def is_idr(codec: str, packet: memoryview, lengths: int) -> bool:
    """Return whether a packet has an IDR picture (in HEVC also BLA): no later frame refers to anything before it."""
    types = _IDR.get(codec, ())
    shift, mask = (0, 31) if codec == "h264" else (1, 63)
    return bool(types) and any(unit and unit[0] >> shift & mask in types for unit in _units(packet, lengths))


class FieldPairs:
    """Detector of second fields among the packets of one stream, taken in decoding order."""

    def __init__(self, codec: str, configuration: bytes | None) -> None:
        self._lengths = length_bytes(codec, configuration)
        self._number_bits, self._has_planes = 0, False
        self._first: tuple[int, int] | None = None  # frame number and parity of an unpaired first field
        if codec == "h264" and configuration:
            for unit in _parameter_sets(configuration):
                self._read(unit)

    @property
    def are_possible(self) -> bool:
        """Whether the stream may contain fields; most have only whole frames, and their packets need no parsing."""
        return self._number_bits > 0

    def is_second(self, packet: memoryview) -> bool:
        """Return whether a packet completes the frame that the previous one began."""
        if not self.are_possible:
            return False
        try:
            field = self._field(packet)
        except IndexError:
            field = None
        pair = self._first is not None and field == (self._first[0], 1 - self._first[1])
        self._first = None if pair else field
        return pair

    def _field(self, packet: memoryview) -> tuple[int, int] | None:
        """Return frame number and parity (1 for bottom) of a packet's first slice; None for a whole frame."""
        for unit in _units(packet, self._lengths):
            if unit and unit[0] & 31 in _SLICES:
                bits = _Bits(unit)
                for _ in range(3):  # first macroblock, slice type, parameter set
                    bits.golomb()
                if self._has_planes:
                    bits.take(2)
                number = bits.take(self._number_bits)
                return (number, bits.take(1)) if bits.take(1) else None
        return None

    def _read(self, unit: bytes) -> None:
        """Store the length of frame numbers from a sequence parameter set, if it allows fields."""
        try:
            bits = _Bits(unit)
            profile = bits.take(24) >> 16
            bits.golomb()
            has_planes = profile in _HIGH and _skip_chroma(bits)
            number_bits = bits.golomb() + 4
            order = bits.golomb()
            if order == 0:
                bits.golomb()
            elif order == 1:
                bits.take(1)
                for _ in range(2):
                    bits.golomb()
                for _ in range(bits.golomb()):
                    bits.golomb()
            bits.golomb()
            bits.take(1)
            for _ in range(2):  # width, height
                bits.golomb()
            if not bits.take(1):  # fields are allowed
                self._number_bits, self._has_planes = number_bits, has_planes
        except IndexError:
            return


def _skip_chroma(bits: _Bits) -> bool:
    """Skip a high profile's formats and scaling; return whether colour planes are coded separately."""
    chroma = bits.golomb()
    has_planes = chroma == 3 and bool(bits.take(1))
    for _ in range(2):
        bits.golomb()
    bits.take(1)
    if bits.take(1):
        for number in range(12 if chroma == 3 else 8):
            if bits.take(1):
                _skip_scaling(bits, 16 if number < 6 else 64)
    return has_planes


def _skip_scaling(bits: _Bits, count: int) -> None:
    last = 8
    for _ in range(count):
        coded = bits.golomb()
        last = (last + ((coded + 1) // 2 if coded % 2 else -(coded // 2))) % 256
        if last == 0:
            return


class _Bits:
    """Bit reader of a unit after its first byte; raises IndexError at the end."""

    def __init__(self, unit: bytes) -> None:
        body = unit[1:].replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(body, "big"), 8 * len(body)

    def take(self, count: int) -> int:
        """Return the next `count` bits."""
        self._left -= count
        if self._left < 0:
            raise IndexError("the unit ends")
        return self._value >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        """Return the next Exp-Golomb coded number."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _parameter_sets(configuration: bytes) -> Iterator[bytes]:
    if configuration[0] != 1:
        units = configuration.split(START_CODE)
        yield from (unit for unit in units if unit and unit[0] & 31 == _PARAMETERS)
        return
    position = 6
    for _ in range(configuration[5] & 31 if len(configuration) > 5 else 0):
        length = int.from_bytes(configuration[position : position + 2], "big")
        yield configuration[position + 2 : position + 2 + length]
        position += 2 + length


def _units(packet: memoryview, lengths: int) -> Iterator[bytes]:
    """Yield the beginnings of a packet's NAL units, in order."""
    position = 0
    for _ in range(MAX_UNITS):
        if lengths:
            start = position + lengths
            position = start + int.from_bytes(packet[position:start], "big")
        else:
            distance = bytes(packet[position : position + (1 << 16)]).find(START_CODE)
            if distance < 0:
                return
            start = position = position + distance + 3
        if start >= len(packet):
            return
        yield bytes(packet[start : start + HEAD_BYTES])
