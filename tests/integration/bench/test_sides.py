"""Both sides of a comparison classify the same pixels."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from app.decoding.worker import decode, probe
from app.media.sampling import EvenClips, frames_at, place_clips
from app.media.types import ClipRequest, Limits, Source
from bench.baselines.clips import answer, frame_numbers, frames
from bench.fixtures import networks, videos
from bench.fixtures.service import read_answer
from bench.suites.handoff import pad_film
from tests.support.timings import regular

WANTED = {"kind": "video", "frames": 16, "stride": 5, "fps": 30, "resize": 256, "crop": 224}
LIMITS = Limits(36_000_000, 500_000, 14_400)


@pytest.mark.parametrize("fps", [15.0, 24.0, 25.0, 28.0, 29.97, 30.0, 50.0, 60.0])
@pytest.mark.parametrize("total", [20, 90, 280, 301, 1000])
def test_baseline_decodes_the_frames_of_the_app(fps: float, total: int) -> None:
    timing = regular(total, fps)
    (times_s,) = place_clips(timing, EvenClips(16, 5 / 30))
    assert frame_numbers(total, fps, WANTED) == frames_at(timing, times_s)


@pytest.mark.parametrize("size", [(320, 240), (96, 160)], ids=["wide", "high"])
def test_baseline_decodes_the_same_pixels(size: tuple[int, int], tmp_path: Path) -> None:
    film = videos.write_film(tmp_path / "film.mp4", *size, fps=30, seconds=4)
    source = Source(str(film), 0, film.stat().st_size)
    media = probe(source, LIMITS)
    region = tmp_path / "region"
    region.write_bytes(bytes(16 * 224 * 224 * 3))
    decode(source, media, ClipRequest(EvenClips(16, 5 / 30), 256, 224, (0,), str(region)))
    ours = np.fromfile(region, np.uint8).reshape(16, 224, 224, 3)
    theirs = frames(str(film), WANTED)
    # decord converts to RGB before it scales, our readers scale the planes; both round
    apart = np.abs(ours.astype(np.int16) - theirs)
    assert apart.mean() < 2.0 and apart.max() < 20 and ours.std() > 10
    moved = np.abs(ours[1:].astype(np.int16) - theirs[:-1])
    assert moved.mean() > 10 * apart.mean(), "neighbouring frames are too similar to be distinguished"


def test_best_label_is_answered_with_its_score_and_precision() -> None:
    body = answer(np.array([0.25, 0.5, 0.25], np.float32), "bf16")
    assert body == {"label": "label 1", "score": 0.5, "precision": "bf16"}
    assert read_answer(body) == ("label 1", "bf16")


def test_pinned_model_folder_has_another_precision_and_same_rest() -> None:
    config = '{ key: "kind" value: { string_value: "video" } }, { key: "precision" value: { string_value: "auto" } }'
    assert networks.with_precision(config, "f32") == config.replace("auto", "f32")
    with pytest.raises(ValueError, match="no precision"):
        networks.with_precision("", "f32")


def test_padded_film_has_the_requested_length(tmp_path: Path) -> None:
    film = videos.write_film(tmp_path / "film.mp4", 160, 96, fps=30, seconds=1)
    whole = pad_film(film, 2, tmp_path)
    assert whole.stat().st_size == 2_000_000
    assert probe(Source(str(whole), 0, 2_000_000), LIMITS).frames == 30


def test_networks_of_other_code_are_rebuilt(tmp_path: Path) -> None:
    old, new = (tmp_path / "networks" / name / "weights.safetensors" for name in ("old", "new"))
    old.parent.mkdir(parents=True)
    old.touch()
    networks.remove_outdated(tmp_path)
    assert not old.exists()
    new.parent.mkdir(parents=True)
    new.touch()
    networks.remove_outdated(tmp_path)
    assert new.exists()


def test_film_with_non_square_pixels_is_copied_with_square_ones(tmp_path: Path) -> None:
    film = videos.write_film(tmp_path / "film.mp4", 160, 96, fps=30, seconds=1)
    assert videos.square_pixels(film, tmp_path / "copy.mp4") == film
    oblong, declare = tmp_path / "oblong.mp4", Fraction(64, 51)
    with av.open(str(oblong), "w") as container:
        stream = container.add_stream("libx264", rate=30, width=160, height=96, pix_fmt="yuv420p")
        stream.codec_context.sample_aspect_ratio = declare
        for _ in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((96, 160, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    copy = videos.square_pixels(oblong, tmp_path / "copy.mp4")
    sizes = [probe(Source(str(path), 0, path.stat().st_size), LIMITS) for path in (oblong, copy)]
    assert [(media.width, media.height, media.frames) for media in sizes] == [(201, 96, 30), (160, 96, 30)]
