"""PNG files (https://www.w3.org/TR/png-3/): extraction of the pixels without the metadata around them."""

import zlib
from collections.abc import Iterator

from app.errors import LimitExceeded, UnsupportedMedia
from app.images.picture_file import (
    DAMAGED_EXIF,
    DAMAGED_PROFILE,
    MAX_CHUNKS,
    MAX_NOTES,
    MAX_PROFILE_BYTES,
    PictureFile,
)
from app.media.formats import PNG_HEAD, is_animated_png

_PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT")
_PNG_FRAMES = (b"acTL", b"fcTL", b"fdAT")


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk, the end chunk last; an end may lie beyond the data."""
    position, count = len(PNG_HEAD), 0
    while position + 8 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8]
        yield name, position, end
        if name == b"IEND":
            return
        position, count = end, count + 1
        if count > MAX_CHUNKS:
            raise LimitExceeded(f"the picture has more than the {MAX_CHUNKS} chunks allowed")


def split_png(data: bytes) -> PictureFile:
    """Return the parts of a PNG file; an animation keeps its complete frames.

    Raises UnsupportedMedia for the iOS variant, which decoders do not read, and LimitExceeded for too many chunks.
    """
    file, chunks = PictureFile(b""), [PNG_HEAD]
    animated, is_complete = is_animated_png(data), True
    name = b""
    for name, start, end in png_chunks(data):
        is_complete = end <= len(data)
        if name == b"CgBI":
            raise UnsupportedMedia(
                "this is a PNG in the private format of iOS apps, which is not supported: send the original PNG"
            )
        if name in _PNG_PIXELS or (animated and name in _PNG_FRAMES):
            chunks.append(data[start:end])
        elif name != b"IEND":
            _read_metadata(file, chunks, name, data[start:end])
    if animated and name != b"IEND":
        file.cut_off, is_complete = True, True
        _drop_last_frame(chunks)
    if is_complete or name not in _PNG_PIXELS:
        chunks.append(_PNG_END)
    file.pixels = b"".join(chunks)
    file.notes = list(dict.fromkeys(file.notes))[:MAX_NOTES]
    return file


def _drop_last_frame(chunks: list[bytes]) -> None:
    """Drop the last frame of a truncated animation, because it may be incomplete."""
    frames = [index for index, chunk in enumerate(chunks) if chunk[4:8] == b"fcTL"]
    if len(frames) > 1:
        del chunks[frames[-1] :]


def _read_metadata(file: PictureFile, chunks: list[bytes], name: bytes, chunk: bytes) -> None:
    """Read a chunk that the pixels do not need, or one (tRNS) that is dropped if damaged."""
    body = chunk[8:-4]
    if len(body) != int.from_bytes(chunk[:4], "big") or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        file.notes.append(_ignored_chunk(name))
    elif name == b"tRNS":
        chunks.append(chunk)
    elif name == b"eXIf":
        file.exif = body
    elif name == b"cICP" and len(body) == 4:
        file.coding = body[0], body[1]
    elif name == b"iCCP":
        file.icc = _inflate_profile(body)
        if not file.icc:
            file.notes.append(DAMAGED_PROFILE)


def _ignored_chunk(name: bytes) -> str:
    if name == b"eXIf":
        return DAMAGED_EXIF
    if name == b"iCCP":
        return DAMAGED_PROFILE
    label = name.decode("ascii", "replace") if name.isalpha() else "of an unknown name"
    return f"the picture's chunk {label} is damaged and was ignored"


def _inflate_profile(body: bytes) -> bytes:
    """Return the profile of an iCCP chunk; empty if it is damaged or larger than MAX_PROFILE_BYTES."""
    _, _, packed = body.partition(b"\0")
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if stream.eof else b""
