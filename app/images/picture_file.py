"""Parts of a picture file: what decoding the pixels needs, and the metadata in use, EXIF and a colour profile.

The decoder gets only the pixels, so that damaged, unusual or huge metadata cannot affect it
(app/images/split.py).
"""

from dataclasses import dataclass, field
from typing import Literal

MAX_PROFILE_BYTES = 4 << 20  # of an ICC profile: the largest common ones, of printers, have 3 MB
MAX_NOTES = 5  # per file
MAX_CHUNKS = 100_000  # of a PNG or WebP: enough for a picture of 100 MB in chunks of 1 kB

DAMAGED_EXIF = "the picture's EXIF data is damaged and was ignored"
DAMAGED_PROFILE = "the picture's colour profile is damaged and was ignored"
NO_END = "the file has no end marker; all of the picture is there"


@dataclass(slots=True)
class PictureFile:
    """Picture file without its metadata.

    `pixels` is a file of the same format. `exif` begins with TIFF's byte order mark, `icc` is a complete ICC profile;
    both are empty if the file has none. `has_end` is False for a JPEG without its end marker, which may be truncated.
    `coefficient_bytes` is the memory that a JPEG decoder needs for the whole picture before it can write the first row.
    `cut_off` means that an animation ends before the frames that its header announces; those in `pixels` are complete.
    `coding` holds the colour primaries and the transfer function, as numbers of ITU-T H.273, if the file has them.
    """

    pixels: bytes
    exif: bytes = b""
    icc: bytes = b""
    notes: list[str] = field(default_factory=list)
    has_end: bool = True
    coefficient_bytes: int = 0
    cut_off: bool = False
    coding: tuple[int, int] | None = None


# EXIF is a TIFF file: https://www.loc.gov/preservation/digital/formats/fdd/fdd000022.shtml

_ORIENTATION = 0x0112
_SIZES = {1: 1, 3: 2, 4: 4}  # size in bytes of whole numbers, by TIFF type


def exif_orientation(exif: bytes) -> int | None:
    """Return EXIF's orientation, 1 to 8; 1 if it is absent, None if the data is damaged."""
    tags = first_directory(exif) if exif else {}
    if tags is None:
        return None
    value = tags.get(_ORIENTATION, 1)
    return value if 1 <= value <= 8 else None


def first_directory(data: bytes) -> dict[int, int] | None:
    """Return the integers in a TIFF file's first directory by their tags; None if it is damaged."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"

    def number(position: int, count: int) -> int:
        return int.from_bytes(data[position : position + count], order)

    start = number(4, 4)
    end = start + 2 + 12 * number(start, 2)
    if start + 2 > len(data) or end > len(data):
        return None
    entries = range(start + 2, end, 12)
    return {number(position, 2): number(position + 8, _SIZES.get(number(position + 2, 2), 0)) for position in entries}
