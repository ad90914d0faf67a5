"""Estimate the cost of an upload, to assign it to a lane."""

from app.admission.queue import Lane
from app.errors import UnsupportedMedia
from app.media.types import HEAD_BYTES, Media, Source, sniff

# Above these, decoding takes longer than about 0.5 s (docs/overload.md).
LONG_BYTES = 100_000_000
LONG_FRAMES = 100_000
LONG_PIXELS = 8_000_000  # of a frame, times the clips


def lane_before(source: Source) -> Lane:
    """Return the lane of a file that was not probed, from its first bytes and size."""
    try:
        if sniff(source.read(HEAD_BYTES)) == "image":
            return Lane.PICTURE
    except UnsupportedMedia:
        return Lane.SHORT  # probing raises the error later
    return Lane.LONG if source.length > LONG_BYTES else Lane.SHORT


def lane_after(media: Media, clips: int, before: Lane) -> Lane:
    """Return the lane of a probed file; `before` is its lane until then."""
    if media.kind == "image":
        return Lane.PICTURE
    frames = media.frames or (media.duration_s or 0.0) * (media.fps or 30.0)
    long = frames > LONG_FRAMES or media.width * media.height * clips > LONG_PIXELS
    return Lane.LONG if long else before
