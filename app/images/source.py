"""Reading of a picture file into memory, once for its properties and its pixels."""

from dataclasses import dataclass

from app.errors import LimitExceeded
from app.images.picture_file import PictureFile
from app.images.split import split_picture
from app.media.formats import HEAD_BYTES, recognise
from app.media.types import Media, Source

MAX_BYTES = 128 << 20  # unlike a video, a picture is read into memory completely


@dataclass(frozen=True, slots=True)
class ReadPicture:
    """A picture or animation that was read to find its properties; its pixels are decoded from `file`."""

    media: Media
    format_name: str
    file: PictureFile


def split_source(source: Source) -> tuple[str, PictureFile]:
    """Return the format that a file's first bytes claim, and the file's parts.

    Raises UnsupportedMedia if the format, or its variant, is not supported, and LimitExceeded if it is too large.
    """
    if source.length > MAX_BYTES:
        raise LimitExceeded(f"the picture is larger than the {MAX_BYTES >> 20} MiB allowed")
    data = source.read(source.length)
    format_name = recognise(data[:HEAD_BYTES]).name
    return format_name, split_picture(format_name, data)
