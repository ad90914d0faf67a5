"""The films for the evaluation of the default model."""

from __future__ import annotations

import io
from collections import Counter
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.films import numbered, read_number, texture, write_video
from triton_repo.zoo.training.camera_motion.paths import LABELS
from triton_repo.zoo.training.camera_motion.render import FPS, SIZES, Film, Padding, detail, films, record, stills


def test_labels_and_variants_are_balanced() -> None:
    made = films(len(FPS) * len(SIZES))
    assert set(Counter((film.label, film.fps, film.size) for film in made).values()) == {1}
    assert len(made) == len(LABELS) * len(FPS) * len(SIZES)
    assert len({film.number for film in made}) == len(made)


@pytest.mark.parametrize(("fps", "size"), [(24, (360, 640)), (60, (320, 240))], ids=["portrait", "60 fps"])
def test_film_is_video_file_and_same_again(fps: int, size: tuple[int, int]) -> None:
    film, scenes = Film("pan_left", fps, size, 5), [texture(400, 300)]
    file = record(film, scenes, seed=1)
    assert file == record(film, scenes, seed=1)
    with av.open(io.BytesIO(file)) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.average_rate) == ("h264", fps)
        assert (stream.width, stream.height, stream.frames) == (*size, round(1.5 * fps))


def test_movement_between_stills_and_chosen_key_frames() -> None:
    padding = Padding(still_s=1.0, key_frames=12)
    with av.open(io.BytesIO(record(Film("pan_left", 24, (320, 240), 5), [texture(400, 300)], 1, padding))) as container:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        keys = [entry.is_keyframe for entry in container.streams.video[0].index_entries]
    changes = [float(np.abs(after - before).mean()) for before, after in pairwise(frames)]
    assert len(frames) == round((1.0 + 1.5 + 1.0) * 24)
    before, during, after = (float(np.median(part)) for part in (changes[:22], changes[26:58], changes[62:]))
    assert max(before, after) < 1 < during
    assert [place for place, key in enumerate(keys) if key] == list(range(0, 84, 12))


def test_only_views_with_detail_in_every_direction_are_filmed() -> None:
    stripes = np.zeros((80, 80, 3), np.uint8)
    stripes[:, ::8] = 255
    assert detail(stripes) == 0
    assert detail(texture(80, 80)) > 3
    with pytest.raises(ValueError, match="no view"):
        record(Film("pan_left", 24, (320, 240), 0), [np.repeat(stripes, 8, axis=0)], seed=1)


def test_stills_are_spread_over_the_video(tmp_path: Path) -> None:
    video = write_video(tmp_path / "ten.mp4", [numbered(number, 120, 120) for number in range(20)], 30)
    assert [read_number(image) for image in stills(video)] == [2, 6, 10, 14, 18]
    (tmp_path / "broken.mp4").write_bytes(video.read_bytes()[:500])
    assert list(stills(tmp_path / "broken.mp4")) == []
