"""Animated WebP, PNG and AVIF are films: each frame at its own time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.errors import LimitExceeded, Undecodable
from app.images import animations
from app.media.formats import HEAD_BYTES, recognise
from app.media.types import Limits, Media
from app.timeline.scan import ScanSpec, ScanStarted, Window, scan
from app.timeline.windows import Grid
from app.video.probe import Resources
from app.video.readers import open_reader, open_sequentially
from tests.support.films import corners, numbered, read_corners, read_number
from tests.support.regions import whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
DURATIONS = [50 + 10 * number for number in range(20)]
NAMES = ["webp", "png", "avif"]


def written(path: Path, frames: list[np.ndarray], duration: list[int] | int = 100, **options: object) -> Path:
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=duration, **options)
    return path


@pytest.fixture(params=NAMES)
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Twenty numbered frames, each shown 10 ms longer than the one before."""
    return written(tmp_path / f"film.{request.param}", [numbered(number) for number in range(20)], DURATIONS)


def opened(path: Path) -> tuple[Media, str]:
    source = whole(path)
    form = recognise(source.read(HEAD_BYTES))
    assert form.kind == "video"
    return animations.read(source, LIMITS).media, form.name


def test_frames_are_exact_and_keep_their_own_times(film: Path) -> None:
    media, name = opened(film)
    assert (media.container, media.frames, media.width, media.height) == (film.suffix[1:], 20, 160, 120)
    assert media.duration_s == pytest.approx(sum(DURATIONS) / 1000)
    for read in (open_reader, open_sequentially):
        reader = read(whole(film), media, name, (160, 120))
        assert reader.timing.times_s.tolist() == pytest.approx([sum(DURATIONS[:n]) / 1000 for n in range(20)])
        numbers = [0, 1, 5, 7, 19]
        assert [read_number(frame[:, 20:140]) for frame in reader.read(numbers)] == numbers
        assert [read_number(frame[:, 20:140]) for frame in reader.read([3])] == [3]


def test_an_animation_is_read_once_for_properties_and_frames(film: Path) -> None:
    source, name = whole(film), recognise(film.read_bytes()[:HEAD_BYTES]).name
    animation = animations.read(source, LIMITS)
    film.unlink()
    reader = open_reader(source, animation.media, name, (160, 120), Resources(animation=animation))
    assert [read_number(frame[:, 20:140]) for frame in reader.read([3, 8])] == [3, 8]


@pytest.mark.parametrize("name", ["webp", "png"])
def test_truncated_animation_shows_its_frames(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / f"film.{name}", [numbered(number) for number in range(20)], DURATIONS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    media, form = opened(path)
    reader = open_reader(whole(path), media, form, (160, 120))
    count = len(reader.timing.times_s)
    assert reader.cut_off and 5 < count < 20
    assert [read_number(frame[:, 20:140]) for frame in reader.read(range(count))] == list(range(count))


def test_a_damaged_avif_is_undecodable(tmp_path: Path) -> None:
    path = written(tmp_path / "film.avif", [numbered(number) for number in range(20)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Undecodable):
        animations.read(whole(path), LIMITS)


@pytest.mark.parametrize("name", NAMES)
def test_frames_without_duration_are_shown_for_100_ms(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / f"film.{name}", [numbered(number) for number in range(5)], 0 if name != "avif" else 1)
    assert opened(path)[0].duration_s == pytest.approx(0.5)


@pytest.mark.parametrize("name", NAMES)
def test_transparent_places_of_an_animation_are_white(tmp_path: Path, name: str) -> None:
    clear = np.zeros((64, 64, 4), np.uint8)
    marked = clear.copy()
    marked[:32] = (200, 30, 30, 255)
    path = written(tmp_path / f"film.{name}", [clear, marked])
    media, form = opened(path)
    first, second = open_reader(whole(path), media, form, (64, 64)).read([0, 1])
    assert first.min() > 250
    assert second[48:].min() > 250 and second[16, 16, 0] > 180 and second[16, 16, 1] < 60


def test_still_beside_animated_png_is_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    frames = [Image.fromarray(numbered(number)) for number in range(4)]
    still = Image.fromarray(corners())
    still.save(path, save_all=True, append_images=frames, duration=100, default_image=True)
    media, form = opened(path)
    assert media.frames == 4
    reader = open_reader(whole(path), media, form, (160, 120))
    assert [read_number(frame[:, 20:140]) for frame in reader.read(range(4))] == [0, 1, 2, 3]


def test_an_animation_with_a_camera_orientation_is_upright(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    lying = np.ascontiguousarray(np.rot90(corners(), 1))
    path = written(tmp_path / "film.webp", [lying, 255 - lying], exif=tags)
    media, form = opened(path)
    assert (media.rotation, media.width, media.height) == (90, 160, 120)
    (frame,) = open_reader(whole(path), media, form, (160, 120)).read([0])
    assert read_corners(frame) == "rgbw"


def test_too_many_frames_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "film.webp", [numbered(0, 16, 16), numbered(1, 16, 16)])
    content = path.read_bytes()
    last = content[content.rindex(b"ANMF") :]
    body = content[12:] + last * animations.MAX_FRAMES
    path.write_bytes(b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body)
    with pytest.raises(LimitExceeded, match="more than the 5000 allowed"):
        animations.read(whole(path), LIMITS)


def test_timeline_covers_the_whole_animation(film: Path) -> None:
    media, _ = opened(film)
    windows: list[np.ndarray] = []

    def place() -> np.ndarray:
        windows.append(np.empty((4, 120, 120, 3), np.uint8))
        return windows[-1]

    look = ScanSpec(Grid(4, 0.1, 0.5), 0, 120, 120, 100, LIMITS)
    events = list(scan(whole(film), media, look, place))
    assert isinstance(events[0], ScanStarted) and events[0].total == 20
    assert len([event for event in events if isinstance(event, Window)]) == len(windows) > 3
    assert read_number(windows[0][0]) == 0
