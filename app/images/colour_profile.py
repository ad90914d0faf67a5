"""ICC profiles: colours of a picture as sRGB, by LittleCMS, which is in Pillow."""

import io
from functools import lru_cache

from PIL import Image, ImageCms

# LittleCMS' names of colour spaces, and Pillow's modes of pictures in them
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# What is raised for a damaged profile, or one that has no way to sRGB
_DAMAGE = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


def is_usable(icc: bytes) -> bool:
    """Return whether a profile can be applied."""
    return _transform(icc) is not None


def to_srgb(picture: Image.Image, icc: bytes) -> Image.Image:
    """Return an RGB picture in sRGB; `picture` is RGB, or CMYK, and is only converted where the profile does not fit.

    A profile of another number of colours than the picture has is not applied.
    """
    found = _transform(icc)
    if found is None:
        return picture.convert("RGB")
    mode, transform = found
    if "CMYK" in (mode, picture.mode) and mode != picture.mode:
        return picture.convert("RGB")
    if mode == "L":
        grey = picture.getchannel(0)
        if any(picture.getchannel(number).tobytes() != grey.tobytes() for number in (1, 2)):
            return picture  # in colours, of which a profile for grey says nothing
        picture = grey
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # it is None only for a change in place
    return converted


@lru_cache(maxsize=16)
def _transform(icc: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """Return the mode of the pictures that a profile is for, and its way to sRGB; None where it cannot be applied."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        mode = _MODES.get(profile.profile.xcolor_space.strip())
        if mode is None:
            return None
        return mode, ImageCms.buildTransform(profile, _srgb(), mode, "RGB", ImageCms.Intent.PERCEPTUAL)
    except _DAMAGE:
        return None


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
