"""Interfaces of the readers of videos, and of a decoder whose frames stay on a GPU."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from app.media.sampling import Timing
from app.media.types import ClipRequest, Media, Source


class Reader(Protocol):
    """Interface of an open video; frames are numbered from 0 in display order."""

    timing: Timing
    missing: int  # frames that an MP4's index lists and the file lacks; 0 for other containers
    cut_off: bool  # the file is truncated, and all frames of `timing` are present

    def read(self, numbers: Sequence[int]) -> Iterator[Any]:
        """Yield upright frames of the reader's size, one for each of `numbers`, which must rise.

        Each is a Frame, or a tensor from DeviceReader (app/video/gpu_frames.py).
        """


class GpuDecoder(Protocol):
    """Interface of a decoder whose frames stay on a GPU (app/video/gpu_frames.py)."""

    def open_clips(self, request: ClipRequest) -> Sequence[Any]:
        """Return the clips' views of the region's mirror; raises ValueError as `clip_shape`."""

    def open_reader(self, source: Source, media: Media, demuxer: str, size: tuple[int, int]) -> Reader:
        """Open a reader whose frames are on the GPU."""
        ...

    def finish(self) -> None:
        """Wait until all writes are complete."""
