"""Pictures: probing, and decoding to upright RGB, scaled and cropped, into the shared region."""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pi_heif
import PIL.AvifImagePlugin
import PIL.TiffImagePlugin
import PIL.WebPImagePlugin  # noqa: F401 - registers itself
from PIL import Image

from app.errors import LimitExceeded, Undecodable, UnsupportedMedia
from app.images.colour_profile import is_usable, to_srgb
from app.images.picture_file import DAMAGED_EXIF, DAMAGED_PROFILE, NO_END, PictureFile, exif_orientation
from app.images.source import ReadPicture, split_source
from app.media import transfer
from app.media.frames import Frame, centre_crop, open_clips, scaled_size
from app.media.types import ClipRequest, DecodeResult, Limits, Media, Source

Image.preinit()  # loads Pillow's plugins before the fork instead of in each process
# One thread per picture, because there are as many decoders as cores
PIL.AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pi_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)

# Peak memory of decoding per pixel of max_pixels: that of a PNG with alpha, the most expensive
BYTES_PER_PIXEL = 16
# A JPEG is decoded at 1/2 to 1/8 of its size; HEIC and AVIF without alpha take about 8 bytes per pixel
PIXEL_FACTORS = {"JPEG": 8.0, "HEIF": 1.5, "AVIF": 1.5}

# Exceptions of Pillow's plugins for damaged files, among them SyntaxError for PNG, struct.error for tags and
# RuntimeError for HEIC.
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, RuntimeError),
    *(AssertionError, struct.error),
)

_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}  # clockwise
_MIRRORED = (2, 4, 5, 7)  # left to right, after the rotation
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NAMES = {"HEIF": "HEIC", "WEBP": "WebP"}  # usual spelling
_CONTAINERS = {"HEIF": ("heic", "hevc"), "AVIF": ("avif", "av1")}  # container and codec, if not the name
# Two endings for a JPEG without an end marker: no data, and data that changes any pixel decoded from it
_ENDS = (b"\xff\xd9", bytes(number * 37 % 255 for number in range(4096)) + b"\xff\xd9")


def read(source: Source, limits: Limits) -> ReadPicture:
    """Read a picture and the properties in its header, without decoding pixels.

    Raises:
        UnsupportedMedia: The format or codec is not supported.
        LimitExceeded: The picture is too large.
        Undecodable: The file is damaged.
    """
    claimed, file = split_source(source)
    with open_pixels(claimed, file, limits.max_pixels) as picture:
        format_name = picture.format or ""
        limits.check_aspect(picture.width, picture.height)
        rotation, mirrored = rotation_of(read_orientation(picture, file))
        turned = rotation % 180 and format_name != "TIFF"  # TIFF's plugin reports the size of the upright picture
        width, height = (picture.width, picture.height)[:: -1 if turned else 1]
    if not file.has_end:
        file.notes.append(NO_END)
    container, codec = _CONTAINERS.get(format_name, (format_name.lower(), format_name.lower()))
    media = Media(
        kind="image",
        container=container,
        codec=codec,
        width=width,
        height=height,
        rotation=rotation,
        duration_s=None,
        fps=None,
        frames=1,
        mirrored=mirrored,
        notes=tuple(file.notes),
    )
    return ReadPicture(media, claimed, file)


def decode(source: Source, media: Media, request: ClipRequest, picture_read: ReadPicture | None = None) -> DecodeResult:
    """Write a picture as every clip of the region; each clip must have one frame.

    `picture_read` is the source if it was read already. Raises as `read`, and Undecodable for a truncated file.
    """
    clips = open_clips(request)
    if request.shape[1] != 1:
        raise ValueError("a picture is a clip of one frame")
    size = scaled_size(media.width, media.height, request.resize)
    format_name, file = (picture_read.format_name, picture_read.file) if picture_read else split_source(source)
    with open_pixels(format_name, file, max(media.width * media.height, size[0] * size[1])) as picture:
        if not file.has_end:
            picture = _complete(picture, file, request.resize)
        reduce_detail(picture, request.resize)
        frame = centre_crop(render(picture, read_orientation(picture, file), size), request.crop)
    for clip in clips:
        clip[0] = frame
    count = len(clips)
    return DecodeResult(((0,),) * count, ((0.0,),) * count, (False,) * count, truncated=False)


def render(picture: Image.Image, orientation: int, size: tuple[int, int]) -> Frame:
    """Return an opened picture as displayed: upright, in sRGB, scaled to `size` (width, height)."""
    icc = picture.info.get("icc_profile") or b""
    if orientation in _UPRIGHT and picture.format != "TIFF":  # TIFF's plugin rotates it
        picture = picture.transpose(_UPRIGHT[orientation])
    scaled = _on_white(picture).resize(size, Image.Resampling.BILINEAR)
    primaries, curve = picture.info.get("coding") or (0, 0)
    if curve in transfer.HDR or (primaries in transfer.WIDE and not icc):
        codes = np.asarray(scaled.convert("RGB"), np.float32) / 255
        return transfer.to_srgb(codes, curve, primaries)
    return np.asarray(to_srgb(scaled, icc) if icc else scaled.convert("RGB"))


@contextmanager
def open_pixels(format_name: str, file: PictureFile, max_pixels: int) -> Iterator[Image.Image]:
    """Open the pixels of a file as one format; map Pillow's errors to ours."""
    if file.coefficient_bytes > BYTES_PER_PIXEL * max_pixels:
        raise LimitExceeded(
            f"decoding this progressive JPEG takes {file.coefficient_bytes >> 20} MiB, more than the "
            f"{BYTES_PER_PIXEL * max_pixels >> 20} MiB allowed: send it smaller, or as a baseline JPEG"
        )
    limit = int(max_pixels * PIXEL_FACTORS.get(format_name, 1.0))
    previous_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # unusual tags are no reason to refuse a picture or to log
            with Image.open(io.BytesIO(file.pixels), formats=[format_name]) as picture:
                if picture.has_transparency_data and picture.width * picture.height > max_pixels:
                    raise LimitExceeded(f"the picture has alpha and more than the {max_pixels} pixels allowed for it")
                _drop_metadata(picture, file)
                yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitExceeded(f"the picture has more than the {limit} pixels allowed") from error
    except MemoryError as error:
        raise LimitExceeded("decoding this picture needs more memory than allowed: send a smaller version") from error
    except _DAMAGE as error:
        if "nsupported codec" in str(error):
            raise UnsupportedMedia(
                f"the {_NAMES.get(format_name, format_name)} picture uses a codec that is not supported: send a JPEG"
            ) from error
        raise Undecodable(
            f"the {_NAMES.get(format_name, format_name)} picture is damaged and cannot be decoded"
        ) from error
    finally:
        Image.MAX_IMAGE_PIXELS = previous_limit


def rotation_of(orientation: int) -> tuple[int, bool]:
    """Return the clockwise rotation in degrees of an EXIF orientation, and whether mirroring follows."""
    return _TURNS.get(orientation, 0), orientation in _MIRRORED


def _drop_metadata(picture: Image.Image, file: PictureFile) -> None:
    """Keep only orientation and colour profile: other tags could fail while the pixels are decoded."""
    if isinstance(picture, PIL.TiffImagePlugin.TiffImageFile):
        exif = Image.Exif()
        exif[_ORIENTATION] = read_orientation(picture, file)
        picture.info["exif"] = exif.tobytes()  # the plugin reads this instead of all directories of the file
    picture.info["coding"] = file.coding
    icc = file.icc or picture.info.pop("icc_profile", b"")
    if icc and is_usable(icc):
        picture.info["icc_profile"] = icc
    elif icc and DAMAGED_PROFILE not in file.notes:
        file.notes.append(DAMAGED_PROFILE)


def read_orientation(picture: Image.Image, file: PictureFile) -> int:
    """Return EXIF's orientation, 1 to 8; add a note if EXIF is damaged."""
    if isinstance(picture, PIL.TiffImagePlugin.TiffImageFile):
        value = picture.tag_v2.get(_ORIENTATION, 1)
        return value if value in range(1, 9) else 1
    exif = file.exif
    if picture.format == "AVIF":  # Pillow writes an EXIF with the orientation from the file's own properties
        exif = picture.info.get("exif", b"").removeprefix(b"Exif\0\0")
    orientation = exif_orientation(exif)
    if orientation is None and DAMAGED_EXIF not in file.notes:
        file.notes.append(DAMAGED_EXIF)
    return orientation or 1


def _complete(picture: Image.Image, file: PictureFile, resize: int) -> Image.Image:
    """Return a decoded JPEG that lacks its end marker; raise Undecodable if pixels are missing.

    A decoder fills in missing pixels. The results for both endings are equal only if nothing is missing.
    """
    copies = []
    for end in _ENDS:
        with Image.open(io.BytesIO(file.pixels + end), formats=["JPEG"]) as copy:
            reduce_detail(copy, resize)
            copy.load()
            copy.info.update(picture.info)
            copies.append(copy)
    if copies[0].tobytes() != copies[1].tobytes():
        raise Undecodable("the picture is cut off: send the complete file")
    return copies[0]


def reduce_detail(picture: Image.Image, resize: int) -> None:
    """Make the JPEG decoder drop detail that scaling would discard: it can halve the size while decoding.

    Twice the target size is kept, so that the result stays within one or two grey levels of full decoding.
    """
    if picture.format == "JPEG":
        picture.draft(picture.mode, scaled_size(picture.width, picture.height, 2 * resize))


def _on_white(picture: Image.Image) -> Image.Image:
    """Return an 8-bit picture in RGB or CMYK, on a white background; 16-bit greys are scaled, not clipped."""
    if picture.mode.startswith("I"):
        grey = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if picture.has_transparency_data:
        background = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(background, picture.convert("RGBA")).convert("RGB")
    return picture if picture.mode in ("RGB", "CMYK") else picture.convert("RGB")
