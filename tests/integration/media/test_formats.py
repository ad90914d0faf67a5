import pytest

from app.media.formats import HEAD_BYTES, recognise
from app.video.truncation import find_ending
from tests.support.films import numbered, write_video
from tests.support.regions import whole

FRAMES = [numbered(i) for i in range(10)]


@pytest.mark.parametrize(
    ("suffix", "codec", "name"),
    [
        ("mp4", "libx264", "mov"),
        ("mov", "libx264", "mov"),
        ("mkv", "libx264", "matroska"),
        ("webm", "libvpx-vp9", "matroska"),
        ("avi", "mpeg4", "avi"),
        ("ts", "libx264", "mpegts"),
        ("m2ts", "libx264", "mpegts"),
        ("mpg", "mpeg1video", "mpeg"),
        ("flv", "libx264", "flv"),
        ("wmv", "wmv2", "asf"),
        ("gif", "gif", "gif"),
    ],
)
def test_a_real_video_is_recognised(tmp_path, suffix, codec, name):
    pixels = "rgb8" if codec == "gif" else "yuv420p"
    path = write_video(tmp_path / f"film.{suffix}", FRAMES, codec=codec, pixels=pixels)
    assert recognise(path.read_bytes()[:HEAD_BYTES]) == ("video", name)
    assert not find_ending(whole(path), name).cut_off
