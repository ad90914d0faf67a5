import pytest

from app.images import decode as pictures
from app.media.types import Limits
from tests.e2e.field.heif import write_heic
from tests.support.films import corners, read_corners
from tests.support.regions import Region, whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)


@pytest.fixture
def decoded(tmp_path):
    region = Region(tmp_path / "region")

    def decode(path):
        request = region.request([0.0], resize=64, crop=64)
        pictures.decode(whole(path), pictures.read(whole(path), LIMITS).media, request)
        return region.clips(request)[0][0]

    return decode


@pytest.mark.parametrize("options", [{}, {"tile": 64}, {"deep": True}, {"brand": b"mif1"}], ids=str)
def test_heic_shows_its_picture(tmp_path, decoded, options):
    path = tmp_path / "picture.jpg"
    path.write_bytes(write_heic(corners(), **options))
    media = pictures.read(whole(path), LIMITS).media
    assert (media.container, media.codec, media.width, media.height) == ("heic", "hevc", 160, 120)
    assert read_corners(decoded(path)) == "rgbw"


@pytest.mark.parametrize(
    ("turns", "mirror", "quarters"),
    [(1, None, "gwrb"), (2, None, "wbgr"), (3, None, "brwg"), (0, 0, "bwrg"), (0, 1, "grwb"), (1, 1, "wgbr")],
)
def test_heic_is_turned_and_mirrored_by_its_properties(tmp_path, decoded, turns, mirror, quarters):
    path = tmp_path / "picture.heic"
    path.write_bytes(write_heic(corners(), tile=64, quarter_turns=turns, mirror=mirror))
    assert read_corners(decoded(path)) == quarters
