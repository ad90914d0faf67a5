"""ICC profiles: conversion of a picture's colours to sRGB with LittleCMS, which Pillow includes."""

import io
from functools import lru_cache

from PIL import Image, ImageCms

# LittleCMS's names of colour spaces, and Pillow's modes for pictures in them
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# Exceptions for a damaged profile, or one without a conversion to sRGB
_DAMAGE = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


def is_usable(icc: bytes) -> bool:
    """Return whether a profile can be applied."""
    return _transform(icc) is not None


def to_srgb(picture: Image.Image, icc: bytes) -> Image.Image:
    """Return an RGB or CMYK picture as RGB in sRGB.

    If the profile does not fit the picture's number of channels, the picture is only converted to RGB.
    """
    profile_transform = _transform(icc)
    if profile_transform is None:
        return picture.convert("RGB")
    mode, transform = profile_transform
    if "CMYK" in (mode, picture.mode) and mode != picture.mode:
        return picture.convert("RGB")
    if mode == "L":
        grey = picture.getchannel(0)
        if any(picture.getchannel(number).tobytes() != grey.tobytes() for number in (1, 2)):
            return picture  # in colour, for which a grey profile is meaningless
        picture = grey
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # it is None only for in-place conversion
    return converted


@lru_cache(maxsize=16)
def _transform(icc: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """Return the picture mode of a profile and its transform to sRGB; None if it cannot be applied."""
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
