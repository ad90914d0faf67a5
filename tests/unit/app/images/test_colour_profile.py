import numpy as np
import pytest
from PIL import Image

from app.images import decode
from app.images.colour_profile import is_usable
from app.media.types import Limits
from tests.support.coded import COLOURS, centres, quarters, srgb_light
from tests.support.profiles import ADOBE_RGB, SRGB, cmyk_profile, grey_profile, rgb_profile
from tests.support.regions import Region, whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
PNG, JPEG = {"format": "PNG"}, {"format": "JPEG", "quality": 95, "subsampling": 0}


def seen(tmp_path, picture, **saving):
    path = tmp_path / "picture"
    picture.save(path, **saving)
    region = Region(tmp_path / "region")
    request = region.request([0.0])
    media = decode.read(whole(path), LIMITS).media
    decode.decode(whole(path), media, request)
    return media, region.clips(request)[0][0]


def adobe_rgb():
    """Return the four colours in Adobe RGB codes."""
    wide = np.linalg.inv(np.array(ADOBE_RGB).T) @ np.array(SRGB).T
    codes = (srgb_light(quarters(64, 64)) @ wide.T).clip(0, 1) ** (1 / 2.19921875)
    return Image.fromarray(np.round(codes * 255).astype(np.uint8))


@pytest.mark.parametrize(("saving", "levels"), [(PNG, 4), (JPEG, 10)], ids=["png", "jpeg"])
def test_adobe_rgb_becomes_srgb(tmp_path, saving, levels):
    _, frame = seen(tmp_path, adobe_rgb(), icc_profile=rgb_profile(), **saving)
    assert np.abs(centres(frame) - COLOURS).max() <= levels
    _, plain = seen(tmp_path, adobe_rgb(), **saving)
    assert np.abs(centres(plain) - COLOURS).max() > 20


@pytest.mark.parametrize("saving", [PNG, JPEG], ids=["png", "jpeg"])
def test_a_grey_profile_is_applied_to_grey(tmp_path, saving):
    grey = Image.new("L", (64, 64), 128)
    _, frame = seen(tmp_path, grey, icc_profile=grey_profile(1.0), **saving)
    assert np.abs(frame.astype(int) - 188).max() <= 3  # half the light


def test_cmyk_profile_is_applied(tmp_path):
    cyan = Image.new("CMYK", (64, 64), (255, 0, 0, 0))
    _, plain = seen(tmp_path, cyan, **JPEG)
    _, frame = seen(tmp_path, cyan, icc_profile=cmyk_profile(), **JPEG)
    assert np.abs(plain[32, 32].astype(int) - (0, 255, 255)).max() <= 12
    assert np.abs(frame[32, 32].astype(int) - (255, 0, 255)).max() <= 12


@pytest.mark.parametrize("profile", [grey_profile(1.0), cmyk_profile()], ids=["grey", "cmyk"])
def test_profile_of_another_colour_space_is_ignored(tmp_path, profile):
    picture = Image.fromarray(np.round(quarters(64, 64) * 255).astype(np.uint8))
    _, plain = seen(tmp_path, picture, **PNG)
    _, frame = seen(tmp_path, picture, icc_profile=profile, **PNG)
    assert np.array_equal(frame, plain)


@pytest.mark.parametrize("cut", [0, 40, 127, 140, 200])
def test_a_damaged_profile_is_ignored_with_a_note(tmp_path, cut):
    damaged = rgb_profile()[:cut] + b"noise"
    assert not is_usable(damaged)
    picture = Image.fromarray(np.round(quarters(64, 64) * 255).astype(np.uint8))
    media, frame = seen(tmp_path, picture, icc_profile=damaged, **PNG)
    assert np.abs(centres(frame) - COLOURS).max() <= 1
    assert any("profile" in note for note in media.notes)
