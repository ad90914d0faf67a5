"""What an upload will cost, guessed from what is known of it: enough to tell long work from short."""

from app.admission.queue import Lane
from app.errors import UnsupportedMedia
from app.media.types import HEAD_BYTES, Media, Source, sniff

# What takes longer than about half a second to decode (docs/overload.md)
LONG_BYTES = 100_000_000
LONG_FRAMES = 100_000
LONG_PIXELS = 8_000_000  # of a frame, times the clips


def lane_before(source: Source) -> Lane:
    """The lane of a file of which only the first bytes were read."""
    try:
        if sniff(source.read(HEAD_BYTES)) == "image":
            return Lane.PICTURE
    except UnsupportedMedia:
        return Lane.SHORT  # to be told so in its turn
    return Lane.LONG if source.length > LONG_BYTES else Lane.SHORT


def lane_after(media: Media, clips: int, before: Lane) -> Lane:
    """The lane of a file that was probed."""
    if media.kind == "image":
        return Lane.PICTURE
    frames = media.frames or (media.duration_s or 0.0) * (media.fps or 30.0)
    long = frames > LONG_FRAMES or media.width * media.height * clips > LONG_PIXELS
    return Lane.LONG if long else before
