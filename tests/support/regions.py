"""A file that stands in for a worker's shared-memory region, to look at what a decoder wrote into it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.media.types import ClipRequest, Source

UNTOUCHED = 0xA5
GAP = 4096  # bytes between two clips, which nobody may write to


class Region:
    """A region of `size` bytes, all `UNTOUCHED` at first."""

    def __init__(self, path: Path, size: int = 1 << 20) -> None:
        self.path = path
        path.write_bytes(bytes([UNTOUCHED]) * size)

    def request(self, *rows: Sequence[float], resize: int = 64, crop: int = 64) -> ClipRequest:
        """Ask for one clip a row of times, laid one after the other with a gap between."""
        step = len(rows[0]) * crop * crop * 3 + GAP
        offsets = tuple(GAP + step * number for number in range(len(rows)))
        return ClipRequest(tuple(tuple(row) for row in rows), resize, crop, offsets, str(self.path))

    def clips(self, request: ClipRequest) -> list[NDArray[np.uint8]]:
        """What stands in the place of each clip, uint8 (T, crop, crop, 3)."""
        shape = (request.shape[1], request.crop, request.crop, 3)
        data = np.frombuffer(self.path.read_bytes(), np.uint8)
        return [data[at : at + int(np.prod(shape))].reshape(shape) for at in request.offsets]


def whole(path: Path) -> Source:
    """All bytes of a file."""
    return Source(str(path), 0, os.path.getsize(path))
