"""The network of `frame_quality`: its committed weights, its training, and its evaluation files."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file

from tests.support.films import texture, write_video
from triton_repo.zoo.architectures import builtin
from triton_repo.zoo.architectures.frame_quality import FrameQuality, details
from triton_repo.zoo.architectures.quality_labels import LABELS, SIZE
from triton_repo.zoo.names import BUILT_IN
from triton_repo.zoo.spec import config_text
from triton_repo.zoo.training.frame_quality import train as train_frame_quality
from triton_repo.zoo.training.frame_quality.encode import (
    FRAMES,
    KINDS,
    SIZES,
    Sample,
    encode_sample,
    samples,
    sharp_frames,
)
from triton_repo.zoo.training.frame_quality.scenes import photograph
from triton_repo.zoo.training.loop import TrainingConfig, train

COMMITTED = Path(__file__).parents[4] / "triton_repo" / "models" / "frame_quality"


def test_one_score_label_for_pictures_of_any_size() -> None:
    network = FrameQuality().eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, SIZE, SIZE)).shape == (2, len(LABELS))
        assert network(torch.randn(1, 3, 97, 160)).shape == (1, len(LABELS))
    assert sum(weight.numel() for weight in network.parameters()) == 2_805_640


def test_detail_measure_is_bounded() -> None:
    assert details(torch.full((1, 3, 32, 32), 0.7)).abs().max() < 1e-4
    edges = details(torch.randint(0, 2, (1, 3, 64, 64)) * 4.4 - 2)
    assert edges.shape == (1, 3, 64, 64)
    assert 1 < edges.abs().max() < 8


def test_detail_measure_ignores_brightness() -> None:
    bright = torch.randn(1, 3, 64, 64)
    dark = bright / 5 - 1.6
    torch.testing.assert_close(details(dark)[:, 2], details(bright)[:, 2], rtol=0.05, atol=0.05)


def test_committed_weights_are_small_and_fit() -> None:
    assert builtin.QUALITY_WEIGHTS.stat().st_size < 16e6
    served = builtin.frame_quality()
    assert set(load_file(builtin.QUALITY_WEIGHTS)) == set(served.network.state_dict())
    assert (COMMITTED / "config.pbtxt").read_text() == config_text("frame_quality", served)
    assert (COMMITTED / "labels.txt").read_text().split() == list(served.labels) == list(LABELS)


def test_every_built_in_model_can_be_made() -> None:
    assert tuple(builtin.DEFAULTS) == BUILT_IN


def test_step_of_training_is_same_for_same_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_frame_quality, "SMALL", 48)
    batches = train_frame_quality.Pictures(3, 8, 0, train_frame_quality.PictureMix(("coffee",), 1.0, large_from=9))
    pictures, labels = next(iter(batches))
    assert (pictures.shape, pictures.dtype) == ((8, 48, 48, 3), torch.uint8)
    assert sorted(labels.tolist()) == list(range(len(LABELS)))

    def losses(name: str) -> list[float]:
        folder = tmp_path / name
        folder.mkdir()
        torch.manual_seed(0)
        config = TrainingConfig(steps=2, batch=8, seed=3, peak_rate=1e-3, folder=folder)
        # workers=0: a fork of this process, which has threads, may hang
        data = train_frame_quality.TrainingData(
            lambda _: batches, [(pictures, labels)], train_frame_quality.normalise, bfloat16=False, workers=0
        )
        train(FrameQuality(), data, config)
        saved = torch.load(folder / "checkpoint.pt", weights_only=True)["history"]
        return [step["loss"] for step in saved]

    assert losses("one") == losses("two")
    assert (tmp_path / "one" / "curve.png").exists()


def test_labels_kinds_and_amounts_are_balanced() -> None:
    ways = len(KINDS) * len(SIZES)
    made = samples(ways)
    assert set(Counter((sample.label, sample.kind, sample.size) for sample in made).values()) == {1}
    assert len(made) == ways * len(LABELS) == len({sample.number for sample in made})
    for label in LABELS:
        parts = sorted(sample.strength for sample in made if sample.label == label)
        np.testing.assert_allclose(parts, (np.arange(ways) + 0.5) / ways)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_reproducible(kind: str) -> None:
    sample, scenes = Sample("noise", (320, 240), kind, 0.5, 3), [photograph("coffee")]
    file = encode_sample(sample, scenes, seed=1)
    assert file == encode_sample(sample, scenes, seed=1)
    if "video" not in kind:
        with Pillow.open(io.BytesIO(file)) as picture:
            assert (picture.format, picture.size) == (kind.upper(), (320, 240))
        return
    with av.open(io.BytesIO(file)) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.width, stream.height, stream.frames) == ("h264", 320, 240, FRAMES)


def test_only_frames_that_shrinking_makes_sharp_are_used(tmp_path: Path) -> None:
    small, large = texture(640, 360), texture(1280, 720)
    assert list(sharp_frames(write_video(tmp_path / "small.mp4", [small] * 5))) == []
    frames = list(sharp_frames(write_video(tmp_path / "large.mp4", [large] * 5)))
    assert [frame.shape for frame in frames] == [(720, 1280, 3)] * 5


def test_scene_without_detail_is_refused() -> None:
    with pytest.raises(ValueError, match="no view"):
        encode_sample(Sample("sharp", (320, 240), "png", 0.5, 0), [np.full((400, 600, 3), 128, np.uint8)], seed=1)
