"""A file in place of a worker's shared memory region, to check what a decoder wrote into it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.media.types import ClipRequest, Source

UNTOUCHED = 0xA5
GAP = 4096  # bytes between two clips, which must stay unchanged


class Region:
    """A region of `size` bytes, all `UNTOUCHED` at first."""

    def __init__(self, path: Path, size: int = 1 << 20) -> None:
        self.path = path
        path.write_bytes(bytes([UNTOUCHED]) * size)

    def request(self, *rows: Sequence[float], resize: int = 64, crop: int = 64) -> ClipRequest:
        """Return a request for one clip per row of times, with a gap between clips."""
        step = len(rows[0]) * crop * crop * 3 + GAP
        offsets = tuple(GAP + step * number for number in range(len(rows)))
        return ClipRequest(tuple(tuple(row) for row in rows), resize, crop, offsets, str(self.path))

    def clips(self, request: ClipRequest) -> list[NDArray[np.uint8]]:
        """Return the pixels at the place of each clip, uint8 (T, crop, crop, 3)."""
        shape = (request.shape[1], request.crop, request.crop, 3)
        data = np.frombuffer(self.path.read_bytes(), np.uint8)
        return [data[at : at + int(np.prod(shape))].reshape(shape) for at in request.offsets]


def whole(path: Path) -> Source:
    """Return a source of all bytes of a file."""
    return Source(str(path), 0, os.path.getsize(path))
