"""Estimate the cost of an upload, to assign it to a lane."""

from app.admission.queue import Lane
from app.media.formats import Kind
from app.media.types import Media

# Above these, decoding takes longer than about 0.5 s (docs/overload.md).
LONG_BYTES = 100_000_000
LONG_FRAMES = 100_000
LONG_PIXELS = 8_000_000  # of a frame, times the clips


def lane_of(kind: Kind, length: int) -> Lane:
    """Return the lane of a file of `length` bytes that was not opened yet."""
    if kind == "image":
        return Lane.PICTURE
    return Lane.LONG if length > LONG_BYTES else Lane.SHORT


def is_long(media: Media, clips: int) -> bool:
    """Return whether an opened file belongs into the lane for long videos, however few bytes it has."""
    if media.kind == "image":
        return False
    frames = media.frames or (media.duration_s or 0.0) * (media.fps or 30.0)
    return frames > LONG_FRAMES or media.width * media.height * clips > LONG_PIXELS
