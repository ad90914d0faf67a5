"""WebP files (https://developers.google.com/speed/webp/docs/riff_container): pixels without the metadata."""

from collections.abc import Iterator

from app.errors import LimitExceeded
from app.images.picture_file import MAX_CHUNKS, MAX_PROFILE_BYTES, PictureFile

_WEBP_METADATA = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}  # and their flags in VP8X
_WEBP_PIXELS = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")


def split_webp(data: bytes) -> PictureFile:
    """Return the parts of a WebP file; an animation keeps its complete frames. Raises LimitExceeded."""
    file, chunks = PictureFile(b""), []
    for name, start, end in webp_chunks(data):
        body = data[start + 8 : end]
        if name == b"VP8X" and body:
            flags = body[0] & ~sum(_WEBP_METADATA.values())
            chunks.append(data[start : start + 8] + bytes([flags]) + data[start + 9 : end + (end & 1)])
        elif name == b"ANMF" and end > len(data):
            file.cut_off = True
        elif name in _WEBP_PIXELS:
            chunks.append(data[start : end + (end & 1)])
        elif name == b"EXIF":
            file.exif = body.removeprefix(b"Exif\0\0")
        elif name == b"ICCP":
            file.icc = body[:MAX_PROFILE_BYTES]
    body = b"WEBP" + b"".join(chunks)
    file.pixels = b"RIFF" + len(body).to_bytes(4, "little") + body
    return file


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk of a WebP file; the end may lie beyond the data."""
    position, count = 12, 0
    while position + 8 <= len(data) and count <= MAX_CHUNKS:
        end = position + 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], position, end
        position, count = end + (end & 1), count + 1
    if count > MAX_CHUNKS:
        raise LimitExceeded(f"the picture has more than the {MAX_CHUNKS} chunks allowed")
