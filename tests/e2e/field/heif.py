"""Write HEIC files: no library of ours does. ISO/IEC 23008-12 (HEIF), ISO/IEC 14496-12 (boxes)."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

GRID, EXIF = 10_000, 10_001  # item numbers; tiles are numbered from 1 on


def box(name: bytes, *parts: bytes) -> bytes:
    """Return a box of that name."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def full_box(name: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """Return a box with a version and flags."""
    return box(name, struct.pack(">I", version << 24 | flags), *parts)


def _encoded(tiles: list[Frame], pixels: str) -> tuple[bytes, list[bytes]]:
    """Return the decoder's configuration (hvcC) and one HEVC picture for each tile, uint8 (height, width, 3)."""
    film = io.BytesIO()
    with av.open(film, "w", format="mp4") as output:
        stream = output.add_stream("libx265", rate=10, options={"x265-params": "keyint=1:log-level=none", "crf": "4"})
        stream.height, stream.width = tiles[0].shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = pixels, 1
        for tile in tiles:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(tile), format="rgb24")))
        output.mux(stream.encode())
    film.seek(0)
    with av.open(film) as source:
        pictures = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        return bytes(source.streams.video[0].codec_context.extradata or b""), pictures


def write_heic(
    picture: Frame,
    *,
    tile: int = 0,
    quarter_turns: int = 0,
    mirror: int | None = None,
    deep: bool = False,
    exif: bytes = b"",
    brand: bytes = b"heic",
    coding: tuple[int, int] = (1, 13),
) -> bytes:
    """Return a HEIC file that shows `picture`, uint8 (height, width, 3), after its turns.

    With `tile` it is a grid of squares of so many pixels. A reader turns it counter-clockwise by `quarter_turns`, then
    mirrors it: at a horizontal axis for `mirror` 0, at a vertical one for 1. `deep` has 10 bits a colour.
    `coding` are H.273's numbers of primaries and transfer, by default those of sRGB.
    """
    height, width = picture.shape[:2]
    rows, columns = (-(-height // tile), -(-width // tile)) if tile else (1, 1)
    side_y, side_x = (tile, tile) if tile else (height, width)
    padded = np.pad(picture, ((0, rows * side_y - height), (0, columns * side_x - width), (0, 0)), "edge")
    tiles = [
        padded[y * side_y : (y + 1) * side_y, x * side_x : (x + 1) * side_x]
        for y in range(rows)
        for x in range(columns)
    ]
    configuration, pictures = _encoded(tiles, "yuv420p10le" if deep else "yuv420p")

    turns = [box(b"irot", bytes([quarter_turns & 3]))] if quarter_turns else []
    turns += [box(b"imir", bytes([mirror]))] if mirror is not None else []
    properties = [
        box(b"hvcC", configuration),
        full_box(b"ispe", 0, 0, struct.pack(">II", side_x, side_y)),
        full_box(b"ispe", 0, 0, struct.pack(">II", width, height)),
        box(b"colr", b"nclx", struct.pack(">HHHB", *coding, 6, 0)),  # matrix of BT.601, limited range
        *turns,
    ]
    turn_numbers = [0x80 | number for number in range(5, 5 + len(turns))]
    items = [(number + 1, b"hvc1") for number in range(len(tiles))]
    of_item = {number: [0x81, 2, 4] for number, _ in items}
    primary, references = 1, []
    contents = {number + 1: content for number, content in enumerate(pictures)}
    if tile:
        primary, grid = GRID, struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
        items.append((GRID, b"grid"))
        of_item[GRID] = [3, 4]
        contents[GRID] = grid
        numbers = [number for number, _ in items[:-1]]
        references.append(box(b"dimg", struct.pack(f">HH{len(numbers)}H", GRID, len(numbers), *numbers)))
    of_item[primary] = of_item[primary] + turn_numbers
    if exif:
        items.append((EXIF, b"Exif"))
        contents[EXIF] = struct.pack(">I", 0) + exif
        references.append(box(b"cdsc", struct.pack(">HHH", EXIF, 1, primary)))
    return _file(brand, items, properties, of_item, references, contents, primary)


def _file(
    brand: bytes,
    items: list[tuple[int, bytes]],
    properties: list[bytes],
    of_item: dict[int, list[int]],
    references: list[bytes],
    contents: dict[int, bytes],
    primary: int,
) -> bytes:
    head = box(b"ftyp", brand, bytes(4), b"mif1", b"heic")
    entries = [full_box(b"infe", 2, 0, struct.pack(">HH", number, 0), name, b"\0") for number, name in items]
    associations = b"".join(
        struct.pack(">HB", number, len(numbers)) + bytes(numbers) for number, numbers in sorted(of_item.items())
    )

    count = struct.pack(">I", len(of_item))

    def meta(start: int) -> bytes:
        places, at = b"", start
        for number, content in contents.items():
            places += struct.pack(">HHHII", number, 0, 1, at, len(content))
            at += len(content)
        return full_box(
            b"meta",
            0,
            0,
            full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", 0, 0, struct.pack(">H", primary)),
            full_box(b"iloc", 0, 0, b"\x44\0", struct.pack(">H", len(contents)), places),
            full_box(b"iinf", 0, 0, struct.pack(">H", len(entries)), *entries),
            full_box(b"iref", 0, 0, *references) if references else b"",
            box(b"iprp", box(b"ipco", *properties), full_box(b"ipma", 0, 0, count, associations)),
        )

    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", *contents.values())
