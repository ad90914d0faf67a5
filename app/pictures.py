"""Pictures: what one is, and its pixels, upright RGB, scaled and cut, written into the shared region."""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import PIL.WebPImagePlugin  # noqa: F401 - registers itself
from PIL import Image, ImageOps

from app.errors import LimitExceeded, Undecodable
from app.formats import HEAD_BYTES, recognise
from app.frames import Frame, centre_crop, open_clips, scaled_size
from app.media import ClipRequest, Decoded, Limits, Media, Source

Image.preinit()  # Pillow loads its other plugins with the first picture: not in each process anew

MAX_BYTES = 128 << 20  # a picture is read whole into memory, unlike a video

# What Pillow's plugins raise for damaged files: SyntaxError stands for a broken PNG, struct.error for broken EXIF.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError, struct.error)

_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}  # clockwise
_MIRRORED = (2, 4, 5, 7)  # left to right, after the turn


def probe(source: Source, limits: Limits) -> Media:
    """Read the facts of a picture from its header; no pixel is decoded.

    Raises UnsupportedMedia, LimitExceeded, Undecodable.
    """
    with _opened(source, limits.max_pixels) as picture:
        limits.check_size(picture.width, picture.height)
        orientation = picture.getexif().get(_ORIENTATION, 1)
        rotation = _TURNS.get(orientation, 0)
        name = (picture.format or "").lower().replace("mpo", "jpeg")
        width, height = (picture.width, picture.height)[:: -1 if rotation % 180 else 1]
    return Media("image", name, name, width, height, rotation, None, None, 1, orientation in _MIRRORED)


def decode(source: Source, media: Media, request: ClipRequest) -> Decoded:
    """Write a picture as every clip of the region; each clip must have one frame.

    Raises UnsupportedMedia, LimitExceeded, Undecodable.
    """
    clips = open_clips(request)
    if request.shape[1] != 1:
        raise ValueError("a picture is a clip of one frame")
    size = scaled_size(media.width, media.height, request.resize)
    with _opened(source, max(media.width * media.height, size[0] * size[1])) as picture:
        frame = seen(picture, size, request.resize, request.crop)
    for clip in clips:
        clip[0] = frame
    count = len(clips)
    return Decoded(((0,),) * count, ((0.0,),) * count, (False,) * count, truncated=False)


def seen(picture: Image.Image, size: tuple[int, int], resize: int, crop: int) -> Frame:
    """An opened picture as a model sees it: upright, scaled to `size` (short side `resize`), its centre cut out."""
    _decode_small(picture, resize)
    upright = _rgb(ImageOps.exif_transpose(picture))
    return centre_crop(np.asarray(upright.resize(size, Image.Resampling.BILINEAR)), crop)


@contextmanager
def _opened(source: Source, max_pixels: int) -> Iterator[Image.Image]:
    """Open the bytes of the source as the one format they claim to be; maps Pillow's errors to ours."""
    if source.length > MAX_BYTES:
        raise LimitExceeded(f"the picture is larger than the {MAX_BYTES >> 20} MiB allowed")
    data = source.read(source.length)
    name = recognise(data[:HEAD_BYTES]).name
    largest, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # odd EXIF is no reason to refuse a picture, or to log
            with Image.open(io.BytesIO(data), formats=[name]) as picture:
                yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitExceeded(f"the picture has more than the {max_pixels} pixels allowed") from error
    except MemoryError as error:
        raise LimitExceeded("decoding this picture needs more memory than is allowed") from error
    except _DAMAGE as error:
        raise Undecodable("the picture is damaged and cannot be decoded") from error
    finally:
        Image.MAX_IMAGE_PIXELS = largest


def _decode_small(picture: Image.Image, resize: int) -> None:
    """Let the JPEG decoder drop what scaling would throw away: it can halve the size while decoding.

    Twice the wanted size is kept, so that the result stays within a grey level or two of the full way.
    """
    if picture.format == "JPEG":
        picture.draft(picture.mode, scaled_size(picture.width, picture.height, 2 * resize))


def _rgb(picture: Image.Image) -> Image.Image:
    """Eight-bit RGB, as the picture looks on white paper; 16-bit greys are scaled, not clipped."""
    if picture.mode.startswith("I"):
        grey = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")
