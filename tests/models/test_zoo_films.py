"""The films that the default model is measured by."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films import numbered, read_number, texture, write_video
from triton_repo.zoo.camera_films import FPS, SIZES, Film, detail, films, shoot, stills
from triton_repo.zoo.camera_paths import LABELS


def test_every_label_is_filmed_in_every_way_equally_often() -> None:
    made = films(len(FPS) * len(SIZES))
    assert set(Counter((film.label, film.fps, film.size) for film in made).values()) == {1}
    assert len(made) == len(LABELS) * len(FPS) * len(SIZES)
    assert len({film.number for film in made}) == len(made)


@pytest.mark.parametrize(("fps", "size"), [(24, (360, 640)), (60, (320, 240))], ids=["portrait", "60 fps"])
def test_a_film_is_a_video_file_and_the_same_again(fps: int, size: tuple[int, int]) -> None:
    film, scenes = Film("pan_left", fps, size, 5), [texture(400, 300)]
    file = shoot(film, scenes, seed=1)
    assert file == shoot(film, scenes, seed=1)
    with av.open(io.BytesIO(file)) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.average_rate) == ("h264", fps)
        assert (stream.width, stream.height, stream.frames) == (*size, round(1.5 * fps))


def test_only_views_with_detail_in_every_direction_are_filmed() -> None:
    stripes = np.zeros((80, 80, 3), np.uint8)
    stripes[:, ::8] = 255
    assert detail(stripes) == 0
    assert detail(texture(80, 80)) > 3
    with pytest.raises(ValueError, match="no view"):
        shoot(Film("pan_left", 24, (320, 240), 0), [np.repeat(stripes, 8, axis=0)], seed=1)


def test_stills_come_from_all_over_a_video(tmp_path: Path) -> None:
    video = write_video(tmp_path / "ten.mp4", [numbered(number, 120, 120) for number in range(20)], 30)
    assert [read_number(image) for image in stills(video)] == [2, 6, 10, 14, 18]
    (tmp_path / "broken.mp4").write_bytes(video.read_bytes()[:500])
    assert list(stills(tmp_path / "broken.mp4")) == []
