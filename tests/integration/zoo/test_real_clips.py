"""Clips of real videos for `verify`: those that the service would classify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.support.films import numbered, read_number, write_video
from triton_repo.zoo import ModelError
from triton_repo.zoo.benchmark.clips import real_clips
from triton_repo.zoo.repository.store import InstalledModel

SETTINGS = Settings.from_environment({})


def model(kind: str, **clip: int) -> InstalledModel:
    parameters = {"kind": kind, "frames": 4, "stride": 2, "fps": 30, "resize": 64, "crop": 64} | clip
    config: dict[str, Any] = {"parameters": {name: {"string_value": str(value)} for name, value in parameters.items()}}
    return InstalledModel("mine", Path(), config, (), (1,))


def test_frames_are_those_of_the_service(tmp_path: Path) -> None:
    film = write_video(tmp_path / "sixty.mp4", [numbered(number) for number in range(60)], 60)
    one, two = real_clips(film, model("video"), 2, SETTINGS, lambda *_: None)
    assert one.shape == two.shape == (1, 4, 64, 64, 3)
    numbers = [[read_number(frame) for frame in clip[0]] for clip in (one, two)]
    assert [[number - row[0] for number in row] for row in numbers] == [[0, 4, 8, 12]] * 2
    assert [row[0] for row in numbers] == [11, 35]  # the middles of the two halves


def test_files_the_service_refuses_are_reported_and_skipped(tmp_path: Path) -> None:
    write_video(tmp_path / "good.mp4", [numbered(number) for number in range(8)], 30)
    (tmp_path / "bad.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:300])
    refused: list[str] = []
    clips = real_clips(tmp_path, model("video"), 1, SETTINGS, lambda file, _: refused.append(file.name))
    assert (len(clips), refused) == (1, ["bad.mp4"])
    with pytest.raises(ModelError, match="nothing in .*bad.mp4 that mine could look at"):
        real_clips(tmp_path / "bad.mp4", model("video"), 1, SETTINGS, lambda *_: None)
    with pytest.raises(ModelError, match="nowhere does not exist"):
        real_clips(tmp_path / "nowhere", model("video"), 1, SETTINGS, lambda *_: None)


def test_real_footage_gives_moving_clips(real_videos: Path) -> None:
    clips = real_clips(real_videos / "sintel.mp4", model("video"), 3, SETTINGS, lambda *_: None)
    assert len(clips) == 3
    assert all((clip[0, 0] != clip[0, -1]).any() for clip in clips)
