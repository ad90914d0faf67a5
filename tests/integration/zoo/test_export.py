"""Exported model folders: their files, and scores equal to those of the networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from safetensors.torch import save_file

import triton_repo.zoo.architectures.torchvision_cpu  # noqa: F401  # isort: skip  (makes the next import work without CUDA)
from torchvision import models

from tests.support.networks import served_picture, served_video, spread_out
from triton_repo.zoo.architectures import builtin
from triton_repo.zoo.architectures.camera_motion import CameraMotion
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.export import openvino as export
from triton_repo.zoo.repository import engine_config
from triton_repo.zoo.repository.sources import Source
from triton_repo.zoo.spec import ClipSpec, NetworkSpec, ServedNetwork, config_text


class Branching(torch.nn.Linear):
    """A network that branches on the batch size, which an export cannot represent."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x.mean(dim=(2, 3)))
        return logits if x.shape[0] == 2 else -logits


TINY = NetworkSpec(
    torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4)),
    "tiny",
    ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=16, crop=16),
    ("a", "b", "c", "d"),
    (0.5,) * 3,
    (0.5,) * 3,
)
COMMITTED = Path(__file__).parents[3] / "triton_repo" / "models"


@pytest.mark.parametrize("served", [served_video(), served_picture()], ids=["video", "picture"])
def test_exported_model_answers_as_torch_does(served: NetworkSpec, tmp_path: Path) -> None:
    folder = export.write_model(served, "small", tmp_path)
    model = openvino.Core().compile_model(folder / "1" / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    clips = export.example_clips(served, 5)
    with torch.no_grad():
        wanted = ServedNetwork(served).eval()(torch.from_numpy(clips)).numpy()
    assert wanted.std() > 0.1, "the scores must differ for the comparison to mean anything"
    np.testing.assert_allclose(model({"CLIP": clips})["SCORES"], wanted, atol=1e-4)


def test_scores_are_those_of_the_normalised_clip() -> None:
    served = served_video()
    clips = torch.from_numpy(export.example_clips(served, 2))
    normalised = (clips.permute(0, 4, 1, 2, 3) / 255 - 0.45) / 0.225
    with torch.no_grad():
        torch.testing.assert_close(
            ServedNetwork(served).eval()(clips), served.network(normalised).softmax(1), atol=1e-5, rtol=0
        )


def test_version_is_replaced_completely(tmp_path: Path) -> None:
    for _ in range(2):
        folder = export.write_model(TINY, "small", tmp_path)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*")} == {
        "1",
        "1/model.bin",
        "1/model.xml",
        "1/precision.json",
        "config.pbtxt",
        "labels.txt",
    }
    assert (folder / "1").stat().st_mode & 0o755 == 0o755


def test_chosen_engine_survives_a_new_export(tmp_path: Path) -> None:
    folder = export.write_model(TINY, "small", tmp_path)
    config = folder / "config.pbtxt"
    engine_config.write(config, engine_config.with_engine(config.read_text(), "torch", "bf16"))
    export.write_model(TINY, "small", tmp_path)
    assert engine_config.engine_of(config.read_text()) == ("torch", "bf16")
    assert (folder / "1" / "model.pt2").is_file(), "the engine's file is exported too"


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_wrong_export_is_refused_and_the_old_one_kept(tmp_path: Path) -> None:
    folder = export.write_model(TINY, "small", tmp_path)
    before = (folder / "1" / "model.bin").read_bytes()
    with pytest.raises(export.ExportMismatch, match="off by"):
        export.write_model(replace(TINY, network=Branching(3, 4)), "small", tmp_path)
    assert (folder / "1" / "model.bin").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt", "labels.txt"]


def test_committed_camera_motion_equals_its_export(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(CameraMotion().state_dict(), tmp_path / "random.safetensors")
    served = builtin.camera_motion(tmp_path / "random.safetensors")
    folder = COMMITTED / "camera_motion"
    assert (folder / "config.pbtxt").read_text() == config_text("camera_motion", served)
    assert (folder / "labels.txt").read_text().split() == list(served.labels)


def test_missing_weights_are_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        builtin.camera_motion(Path("nowhere.safetensors"))


@pytest.mark.parametrize(
    ("file", "resize"),
    [("resnet50-0676ba61.pth", 256), ("resnet50-11ad3fa6.pth", 232), ("mine.pth", 232)],
    ids=["first recipe", "second recipe", "unknown: the newest"],
)
def test_preprocessing_follows_the_published_file(file: str, resize: int) -> None:
    assert published("resnet50", file).spec.resize == resize


def test_resnet_takes_weights_of_torchvisions_names(tmp_path: Path) -> None:
    trained = spread_out(models.get_model("resnet18", num_classes=2), torch.randn(4, 3, 64, 64))
    torch.save(trained.state_dict(), tmp_path / "pets.pth")
    known = published("resnet18")
    source = Source("resnet18", "pets.pth", "", known.spec, known.mean, known.std)
    served = source.network(("cat", "dog"), tmp_path / "pets.pth")
    example = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(served.network(example), trained(example))
    assert (served.spec.kind, served.spec.frames, served.spec.crop) == ("image", 1, 224)
