from fractions import Fraction

import av
import numpy as np
import pytest

from app.media.frames import scaled_size
from app.media.geometry import Crop, display_size, orientation, upright
from app.media.types import Limits
from app.video import decode
from app.video.container_crop import container_crop
from app.video.packet_reader import PacketReader
from app.video.readers import open_reader
from tests.support.films import corners, read_corners, texture, write_video
from tests.support.odd_films import interlaced, with_clean_aperture, with_pixel_crop
from tests.support.regions import whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
ORIENTATIONS = [(rotation, mirrored) for rotation in (0, 90, 180, 270) for mirrored in (False, True)]


def first_frame(path, demuxer="mov", resize=64, number=0):
    media = decode.probe(whole(path), LIMITS)
    reader = open_reader(whole(path), media, demuxer, scaled_size(media.width, media.height, resize))
    return media, np.asarray(next(iter(reader.read([number]))))


def stored(picture, rotation, mirrored):
    """Return the frame that `upright` turns into `picture`."""
    flipped = picture[:, ::-1] if mirrored else picture
    return np.ascontiguousarray(np.rot90(flipped, rotation // 90))


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
@pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS)
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_every_orientation_becomes_upright(tmp_path, suffix, rotation, mirrored, codec):
    frame = stored(corners(120, 160) if rotation % 180 else corners(160, 120), rotation, mirrored)
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_video(
        tmp_path / f"film.{suffix}", [frame] * 3, codec=codec, pixels=pixels, rotation=rotation, mirrored=mirrored
    )
    media, seen = first_frame(path, "matroska" if suffix == "mkv" else "mov")
    assert (media.rotation, media.mirrored) == (rotation, mirrored)
    assert (media.width, media.height) == ((120, 160) if rotation % 180 else (160, 120))
    assert read_corners(seen) == "rgbw"


@pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS)
def test_upright_turns_then_mirrors(rotation, mirrored):
    picture = corners(16, 12)
    assert np.array_equal(upright(stored(picture, rotation, mirrored), rotation, mirrored), picture)


def test_frame_without_display_matrix_is_not_rotated():
    assert orientation(av.VideoFrame(16, 16, "rgb24")) == (0, False)


@pytest.mark.parametrize(
    ("size", "crop", "aspect", "shown"),
    [
        ((640, 512), Crop(), Fraction(64, 45), (910, 512)),
        ((720, 480), Crop(), Fraction(8, 9), (640, 480)),
        ((720, 480), Crop(8, 0, 8, 0), Fraction(10, 11), (640, 480)),
        ((640, 480), Crop(), None, (640, 480)),
        ((640, 480), Crop(), Fraction(1000), (640, 480)),
        ((640, 480), Crop(), Fraction(1, 1000), (640, 480)),
    ],
    ids=str,
)
def test_size_in_square_pixels(size, crop, aspect, shown):
    assert display_size(*size, crop, aspect) == shown


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_sample_aspect_ratio_is_applied(tmp_path, suffix, codec):
    path = write_video(tmp_path / f"film.{suffix}", [texture(120, 160)] * 3, codec=codec, aspect=Fraction(2))
    media = decode.probe(whole(path), LIMITS)
    assert (media.width, media.height) == (240, 160)


def test_rotated_anamorphic_film_swaps_its_sides(tmp_path):
    frame = stored(corners(160, 120), 90, False)
    path = write_video(tmp_path / "film.mp4", [frame] * 3, rotation=90, aspect=Fraction(2))
    media, seen = first_frame(path)
    assert (media.width, media.height) == (160, 240)
    assert (seen.shape, read_corners(seen)) == ((96, 64, 3), "rgbw")


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
@pytest.mark.parametrize("hide", [with_pixel_crop, with_clean_aperture])
def test_edges_that_the_container_hides_are_not_shown(tmp_path, hide, codec):
    suffix = "mkv" if hide is with_pixel_crop else "mp4"
    frame = np.zeros((160, 240, 3), np.uint8)
    frame[20:140, 30:190] = corners(160, 120)
    pixels = "yuvj444p" if codec == "mjpeg" else "yuv444p"
    path = write_video(tmp_path / f"whole.{suffix}", [frame] * 3, codec=codec, pixels=pixels, container=hide.muxer)
    cropped = hide(path, tmp_path / f"film.{suffix}", Crop(30, 20, 50, 20))
    media, seen = first_frame(cropped, "matroska" if suffix == "mkv" else "mov", resize=120)
    assert (media.width, media.height, media.crop) == (160, 120, (30, 20, 50, 20))
    assert read_corners(seen) == "rgbw"
    assert seen[2:-2, 2:-2].reshape(-1, 3).max(axis=-1).min() > 150


@pytest.mark.parametrize("crop", [Crop(-8, 0, 0, 0), Crop(0, 0, 0, 160)])
def test_clean_aperture_that_does_not_fit_is_ignored(tmp_path, crop):
    path = write_video(tmp_path / "whole.mp4", [corners(240, 160)] * 3)
    media, seen = first_frame(with_clean_aperture(path, tmp_path / "film.mp4", crop))
    assert (media.width, media.height, read_corners(seen)) == (240, 160, "rgbw")


@pytest.mark.parametrize("name", ["h264 mov", "h264 ts", "mpeg2 mpg", "mpeg2 mkv", "prores mov", "bottom mkv"])
def test_fields_of_two_moments_become_whole_frames(tmp_path, name):
    path, truths = interlaced(tmp_path, name)
    demuxer = {"mov": "mov", "ts": "mpegts", "mpg": "mpeg", "mkv": "matroska"}[path.suffix[1:]]
    media = decode.probe(whole(path), LIMITS)
    assert media.interlaced
    reader = open_reader(whole(path), media, demuxer, (media.width, media.height))
    for number, frame in zip((2, 5, 9), reader.read([2, 5, 9]), strict=True):
        combed = np.abs(np.diff(np.asarray(frame, np.int16), axis=0)).mean()
        right = np.abs(np.diff(truths[number].astype(np.int16), axis=0)).mean()
        assert combed < 1.5 * right + 1
        assert np.abs(np.asarray(frame, np.int16) - truths[number]).mean() < 6


def test_later_interlaced_frames_are_deinterlaced(tmp_path):
    path, truths = interlaced(tmp_path, "ffv1 mkv", progressive=6)
    media = decode.probe(whole(path), LIMITS)
    assert not media.interlaced
    reader = PacketReader(whole(path), "matroska", media, (media.width, media.height))
    for number, frame in zip((1, 4, 9), reader.read([1, 4, 9]), strict=True):
        assert np.abs(np.asarray(frame, np.int16) - truths[number]).mean() < 6


def test_element_beyond_the_end_is_ignored(tmp_path):
    path = write_video(tmp_path / "film.mkv", [corners(64, 64)] * 3)
    content = path.read_bytes()
    segment = content.index(b"\x18\x53\x80\x67") + 12
    path.write_bytes(content[:segment] + b"\xec\x01" + b"\xff" * 6 + b"\xfe" + content[segment:])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert not any(container_crop(whole(path), "matroska", stream, (64, 64)))
