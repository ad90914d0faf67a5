import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from app.errors import LimitExceeded, Undecodable, UnsupportedMedia
from app.images import decode as pictures
from app.images.picture_file import exif_orientation
from app.images.split import split_picture
from app.media.types import Limits, Source
from tests.e2e.field.picture_files import exif, srgb, with_segment
from tests.support.films import corners, read_corners, texture
from tests.support.regions import Region, whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)


@pytest.fixture
def region(tmp_path) -> Region:
    return Region(tmp_path / "region")


@pytest.fixture
def decoded(region):
    def decode(path, resize=64, crop=64):
        request = region.request([0.0], resize=resize, crop=crop)
        result = pictures.decode(whole(path), pictures.read(whole(path), LIMITS).media, request)
        assert (result.frames, result.padded, result.truncated) == (((0,),), (False,), False)
        return region.clips(request)[0][0]

    return decode


def saved(path, picture, **options):
    options = {"compress_level": 1, "method": 0} | options  # png, webp: quick to write, and no pixel differs for it
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_each_format_is_read(tmp_path, decoded, name):
    assert features.check("webp") or name != "webp"
    path = saved(tmp_path / f"picture.{name}", corners())
    media = pictures.read(whole(path), LIMITS).media
    assert (media.kind, media.container, media.width, media.height) == ("image", name, 160, 120)
    assert (media.rotation, media.duration_s, media.fps, media.frames) == (0, None, None, 1)
    assert read_corners(decoded(path)) == "rgbw"


# EXIF orientation, and the transformation of the upright picture to the stored one
LAID_DOWN = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, -1),
}


@pytest.mark.parametrize("tag", LAID_DOWN)
@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_exif_orientation_is_undone(tmp_path, decoded, tag, name):
    exif = Image.Exif()
    exif[0x0112] = tag
    lying = np.ascontiguousarray(LAID_DOWN[tag](corners(1600, 1200)))
    path = saved(tmp_path / f"picture.{name}", lying, exif=exif)
    media = pictures.read(whole(path), LIMITS).media
    assert (media.width, media.height) == (1600, 1200)
    assert media.rotation == {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}.get(tag, 0)
    assert read_corners(decoded(path)) == "rgbw"


GREY = np.linspace(0, 255, 80 * 80).reshape(80, 80)
MODES = {
    "CMYK": ("jpeg", Image.fromarray(texture(80, 80)).convert("CMYK")),
    "grey": ("png", Image.fromarray(GREY.astype(np.uint8))),
    "16 bit grey": ("png", Image.fromarray((GREY * 257).astype(np.uint16))),
    "two colours": ("png", Image.fromarray(GREY > 128)),
    "palette": ("png", Image.fromarray(texture(80, 80)).quantize(256)),
    "alpha": ("png", Image.fromarray(texture(80, 80)).convert("RGBA")),
    "grey with alpha": ("png", Image.fromarray(GREY.astype(np.uint8)).convert("LA")),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_the_same_picture_in_rgb(tmp_path, decoded, mode):
    suffix, picture = MODES[mode]
    frame = decoded(saved(tmp_path / f"picture.{suffix}", picture), resize=80, crop=80).astype(int)
    expected = GREY[..., None] if "grey" in mode else texture(80, 80)
    if mode == "two colours":
        expected = (GREY[..., None] > 128) * 255
    assert np.abs(frame - expected).mean() < 6


def test_transparent_pixels_are_white(tmp_path, decoded):
    picture = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    assert decoded(saved(tmp_path / "picture.png", picture)).min() == 255


def reference(path, resize: int, crop: int):
    """Apply torchvision's transform: Pillow's bilinear filter to the short side, then the centre."""
    with Image.open(path) as picture:
        width, height = picture.size
        short = min(width, height)
        scaled = picture.convert("RGB").resize(
            (resize * width // short, resize * height // short), Image.Resampling.BILINEAR
        )
    left, top = round((scaled.width - crop) / 2), round((scaled.height - crop) / 2)
    return np.asarray(scaled.crop((left, top, left + crop, top + crop))).astype(float)


@pytest.mark.parametrize("size", [(640, 360), (361, 641), (800, 450), (100, 90)], ids=str)
@pytest.mark.parametrize(("suffix", "tolerance"), [("png", 0), ("jpeg", 2.0)])
def test_resize_and_crop_agree_with_torchvision(tmp_path, decoded, size, suffix, tolerance):
    path = saved(tmp_path / f"picture.{suffix}", texture(*size, seed=2))
    difference = np.abs(decoded(path, resize=232, crop=224) - reference(path, 232, 224)).mean()
    assert difference <= tolerance


def test_picture_inside_a_file_is_read(tmp_path, region):
    picture = saved(tmp_path / "picture.png", corners()).read_bytes()
    body = tmp_path / "body"
    body.write_bytes(b"before" + picture + b"after")
    source = Source(str(body), 6, len(picture))
    request = region.request([0.0])
    pictures.decode(source, pictures.read(source, LIMITS).media, request)
    assert read_corners(region.clips(request)[0][0]) == "rgbw"


def test_a_picture_is_read_once_for_properties_and_pixels(tmp_path, region):
    path = saved(tmp_path / "picture.png", corners())
    source, request = whole(path), region.request([0.0])
    picture = pictures.read(source, LIMITS)
    path.unlink()
    pictures.decode(source, picture.media, request, picture)
    assert read_corners(region.clips(request)[0][0]) == "rgbw"


@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp"])
def test_a_truncated_picture_is_undecodable(tmp_path, decoded, suffix):
    path = saved(tmp_path / f"picture.{suffix}", texture(200, 200))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Undecodable) as caught:
        decoded(path)
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp"])
def test_a_damaged_head_is_undecodable(tmp_path, decoded, suffix):
    path = saved(tmp_path / f"picture.{suffix}", texture(200, 200))
    path.write_bytes(path.read_bytes()[:16] + bytes(500))
    with pytest.raises((Undecodable, LimitExceeded)):
        decoded(path)


def test_a_bomb_is_refused_by_its_header(tmp_path):
    path = saved(tmp_path / "bomb.png", Image.new("1", (8, 8)))
    data = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", 20000, 20000) + data[24:29]
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    with pytest.raises(LimitExceeded, match="pixels"):
        pictures.read(whole(path), LIMITS)


def test_extreme_aspect_ratio_is_refused(tmp_path):
    path = saved(tmp_path / "strip.png", Image.new("L", (1, 65535)))
    with pytest.raises(LimitExceeded, match="1x65535"):
        pictures.read(whole(path), LIMITS)


def test_a_picture_of_another_format_is_refused(tmp_path):
    path = saved(tmp_path / "picture.png", corners(), format="JPEG2000")
    with pytest.raises(UnsupportedMedia):
        pictures.read(whole(path), LIMITS)


def test_clip_of_many_frames_is_a_value_error(tmp_path, region):
    path = saved(tmp_path / "picture.png", corners())
    with pytest.raises(ValueError, match="one frame"):
        pictures.decode(whole(path), pictures.read(whole(path), LIMITS).media, region.request([0.0, 1.0]))


def test_odd_exif_tags_leave_the_orientation_readable(tmp_path, decoded):
    lying = saved(tmp_path / "lying.jpeg", np.rot90(corners(), 1)).read_bytes()
    width = struct.pack("<HHIf", 0x0100, 11, 1, 1.5)  # a fraction, where a whole number belongs
    path = tmp_path / "picture.jpeg"
    path.write_bytes(with_segment(lying, 0xE1, b"Exif\0\0" + exif(6, width)))
    assert read_corners(decoded(path)) == "rgbw"


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_jpeg_without_end_marker_is_whole_or_refused(tmp_path, decoded, progressive):
    path = saved(tmp_path / "picture.jpeg", texture(200, 160), progressive=progressive)
    content = path.read_bytes()
    expected = decoded(path)
    path.write_bytes(content[:-2])
    assert np.array_equal(decoded(path), expected)
    for part in (0.5, 0.7, 0.9, 0.97):
        path.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(Undecodable, match="cut off"):
            decoded(path)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("name", ["tiff", "avif"])
def test_orientation_of_tiff_and_avif_is_undone(tmp_path, decoded, orientation, name):
    lying = Image.fromarray(np.ascontiguousarray(LAID_DOWN[orientation](corners())))
    tags = Image.Exif()
    tags[0x0112] = orientation
    path = tmp_path / f"picture.{name}"
    lying.save(path, exif=tags)
    media = pictures.read(whole(path), LIMITS).media
    assert (media.width, media.height) == (160, 120)
    assert read_corners(decoded(path)) == "rgbw"


def test_a_profile_brings_colours_to_srgb(tmp_path, decoded):
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = swapped.replace(b"rXYZ", b"?XYZ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"?XYZ", b"bXYZ", 1)
    path = saved(tmp_path / "picture.png", corners(), icc_profile=swapped)
    assert read_corners(decoded(path)) == "bgrw"


def test_opening_a_large_jpeg_needs_little_memory(tmp_path, decoded):
    path = saved(tmp_path / "picture.jpeg", Image.new("RGB", (5000, 4000)))
    assert pictures.read(whole(path), LIMITS).media.width == 5000
    assert decoded(path).max() == 0
    path = saved(tmp_path / "picture.jpeg", Image.new("RGB", (6000, 5500)))
    with pytest.raises(LimitExceeded, match="32000000 pixels"):
        pictures.read(whole(path), LIMITS)


def test_a_progressive_jpeg_is_limited_by_its_memory(tmp_path):
    path = saved(tmp_path / "picture.jpeg", Image.new("RGB", (5000, 4600)), progressive=True)
    with pytest.raises(LimitExceeded, match="65 MiB, more than the 61 MiB"):
        pictures.read(whole(path), LIMITS)


def test_a_palette_png_without_its_palette_is_undecodable(tmp_path, decoded):
    path = saved(tmp_path / "picture.png", Image.fromarray(corners()).quantize(16))
    content = path.read_bytes()
    start = content.index(b"PLTE") - 4
    path.write_bytes(content[:start] + content[start + 12 + int.from_bytes(content[start : start + 4], "big") :])
    with pytest.raises(Undecodable):
        decoded(path)


PARTS = {
    "JPEG": {"progressive": True, "exif": exif(6), "icc_profile": srgb()},
    "PNG": {"exif": exif(6), "icc_profile": srgb()},
    "WEBP": {"exif": exif(6), "icc_profile": srgb()},
    "TIFF": {},
    "AVIF": {"exif": exif(6)},
}


@pytest.mark.parametrize("kind", PARTS)
def test_truncated_files_never_crash_the_parser(tmp_path, kind):
    path = tmp_path / "picture"
    Image.fromarray(corners()).save(path, kind, **PARTS[kind])
    content = path.read_bytes()
    for length in range(min(len(content), 1500)):
        parts = split_picture(kind, content[:length])
        assert exif_orientation(parts.exif) in (None, 1, 6)


def test_truncated_animations_never_crash_the_parser(tmp_path):
    frames = [Image.fromarray(corners(32, 24)), Image.fromarray(255 - corners(32, 24))]
    for kind in ("PNG", "WEBP"):
        path = tmp_path / "picture"
        frames[0].save(path, kind, save_all=True, append_images=frames[1:], duration=100)
        content = path.read_bytes()
        assert all(split_picture(kind, content[:length]).pixels for length in range(20, len(content)))
