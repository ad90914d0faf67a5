"""`frame_quality` through the real stack: pictures and videos with one fault each, of photographs and real footage."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from deploy.stack.stack import Stack
from triton_repo.zoo.architectures.quality_labels import LABELS
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.training.camera_motion.scenes import Image
from triton_repo.zoo.training.frame_quality.encode import Sample, encode_sample, samples, sharp_frames
from triton_repo.zoo.training.frame_quality.scenes import photograph


def answer(stack: Stack, sample: Sample, scenes: list[Image]) -> dict:
    content = encode_sample(sample, scenes, seed=1)
    params = {"model": "frame_quality"}
    response = httpx.post(f"{stack.url}/v1/classify", params=params, content=content, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("kind", ["png", "jpeg", "moving video"])
@pytest.mark.parametrize("label", LABELS)
def test_photograph_with_a_fault_gets_its_label(stack: Stack, label: str, kind: str) -> None:
    result = answer(stack, Sample(label, (640, 360), kind, 0.6, 5), [photograph("stereo_motorcycle")])
    assert result["predictions"][0]["label"] == label
    assert (result["media"]["kind"], len(result["clips"][0]["frames"])) == ("video" if "video" in kind else "image", 1)


def test_real_frames_get_the_labels_of_their_faults(stack: Stack, real_videos: Path) -> None:
    scenes = list(sharp_frames(real_videos / "sintel.mp4"))
    chosen = samples(per_label=2)
    labels = [answer(stack, sample, scenes)["predictions"][0]["label"] for sample in chosen]
    wrong = [(sample, label) for sample, label in zip(chosen, labels, strict=True) if label != sample.label]
    assert len(wrong) <= 1, wrong


def test_the_model_is_listed_beside_the_default(stack: Stack) -> None:
    models = {m["name"]: m for m in httpx.get(f"{stack.url}/v1/models", timeout=30).json()["models"]}
    quality = models["frame_quality"]
    assert (quality["kind"], quality["frames"], quality["labels"]) == ("image", 1, list(LABELS))
    assert not quality["default"]


@pytest.mark.parametrize("name", ["camera_motion", "frame_quality", "objects"])
def test_models_of_setup_pass_verify(name: str) -> None:
    result = CliRunner().invoke(main, ["verify", name, "--clips", "3"])
    assert result.exit_code == 0, result.output
    assert "against torch" in result.output
