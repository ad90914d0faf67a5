"""`clipstack-models add`, `list` and `show`, with files in the published layouts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.integration.zoo.command.models_command import Run, invoke
from tests.support.checkpoints import labels_file, normal_clips, state
from tests.support.networks import spread_out
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.benchmark import engines
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.repository.store import changing, installed


def test_official_x3d_has_its_labels_and_clip(x3d: Path) -> None:
    model = installed(x3d / "models", "x3d_xs")
    assert (model.labels[0], model.labels[5], len(model.labels)) == ("abseiling", "archery", 400)
    assert (model.parameters["stride"], model.parameters["fps"]) == ("12", "30")
    assert "version_policy: { latest { num_versions: 2 } }" in (model.folder / "config.pbtxt").read_text()
    assert sorted(path.name for path in model.served.iterdir()) == [
        "config.pbtxt",
        "labels.txt",
        "model.bin",
        "model.xml",
        "precision.json",
        "source.json",
    ]


def test_show_and_list_describe_an_installed_model(x3d: Path) -> None:
    shown = invoke("show", "x3d_xs", "--models", x3d / "models").stdout
    assert "input        2 frames in 0.4 s, 32 × 32\n" in shown
    assert f"source       {x3d / 'X3D_XS.pyth'}\n" in shown
    listed = invoke("list", "--models", x3d / "models").stdout
    assert "x3d_xs  1        x3d_xs   2 frames in 0.4 s, 32 × 32  400" in listed
    assert "can be added: x3d_s, x3d_m, x3d_l, efficientnet_lite0, efficientnet_lite1" in listed


def test_show_describes_a_published_model(tmp_path: Path) -> None:
    shown = invoke("show", "resnet50", "--models", tmp_path).stdout
    assert "input     picture, 224 × 224" in shown
    assert "frame     short side scaled to 232" in shown
    assert f"url       {published('resnet50').url}" in shown


def test_torchvision_video_model_from_its_file(tmp_path: Path) -> None:
    file, models = tmp_path / Path(published("mc3_18").url).name, tmp_path / "models"
    torch.save(state("mc3_18", 400, (8, 3, 2, 16, 16)), file)
    clip = ("--size", 16, "--frames", 2)
    result = invoke("add", "mc3_18", "--from-file", file, *clip, "--models", models)
    assert result.exit_code == 0, result.output
    assert installed(models, "mc3_18").labels == published("mc3_18").labels
    assert invoke("verify", "mc3_18", "--clips", 3, "--models", models).exit_code == 0


def test_own_checkpoint_gives_the_scores_of_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = spread_out(published("x3d_xs").network(3), normal_clips((8, 3, 2, 32, 32)))
    wrapped = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 7}, tmp_path / "best.ckpt")
    words = labels_file(tmp_path / "labels.txt", 3)
    clip = ("--frames", 2, "--size", 32, "--mean", "0.5", "--std", "0.2,0.25,0.3", "--models", tmp_path)
    result = invoke("add", "own", "--arch", "x3d_xs", "--weights", tmp_path / "best.ckpt", "--labels", words, *clip)
    assert result.exit_code == 0, result.output
    model = installed(tmp_path, "own")
    clips = np.concatenate(random_clips((2, 32, 32, 3), 3, seed=1))
    normal = (torch.from_numpy(clips) / 255 - 0.5) / torch.tensor([0.2, 0.25, 0.3])
    with torch.no_grad():
        wanted = network(normal.permute(0, 4, 1, 2, 3)).softmax(1).numpy()
    assert wanted.std(axis=0).max() > 0.1, "the scores must differ for the comparison to mean anything"
    exact = engines.load(model, Variant("openvino", "f32"), None, model.served)
    np.testing.assert_allclose(exact.infer(clips), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("layout", "shape", "frames"),
    [
        ("NCTHW", (1, 3, 2, 8, 8), 2),
        ("NTCHW", (1, 2, 3, 8, 8), 2),
        ("NTHWC", (1, 2, 8, 8, 3), 2),
        ("NCHW", (1, 3, 8, 8), 1),
        ("NHWC", (1, 8, 8, 3), 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_onnx_in_every_layout(layout: str, shape: tuple[int, ...], frames: int, add_onnx: Run, tmp_path: Path) -> None:
    result = add_onnx("--layout", layout, "--frames", frames, "--mean", "0.4", "--std", "0.2,0.3,0.4", shape=shape)
    assert result.exit_code == 0, result.output
    engines = ("--engine", "openvino", "--engine", "onnxruntime")
    verdict = invoke("verify", "mine", *engines, "--models", tmp_path / "models")
    assert verdict.exit_code == 0, verdict.output
    assert "against the ONNX file" in verdict.stdout


def test_precision_is_automatic_unless_it_is_chosen(add_onnx: Run, tmp_path: Path) -> None:
    for options, precision in (((), "auto"), (("--precision", "f32"), "f32")):
        assert add_onnx(*options).exit_code == 0
        assert installed(tmp_path / "models", "mine").parameters["precision"] == precision
    shown = invoke("show", "mine", "--models", tmp_path / "models").stdout
    assert re.search(r"bf16 +(close to|too far from) f32 \((measured|emulated)\): differs by ", shown)


def test_onnx_with_probabilities_keeps_them(add_onnx: Run, tmp_path: Path) -> None:
    assert add_onnx("--scores", "probabilities", softmax=True).exit_code == 0
    for engine in ("openvino", "onnxruntime"):
        assert invoke("verify", "mine", "--engine", engine, "--models", tmp_path / "models").exit_code == 0
    torch = invoke("verify", "mine", "--engine", "torch", "--models", tmp_path / "models")
    assert "torch does not run models that came from ONNX" in torch.stderr


def test_concurrent_change_is_refused(add_onnx: Run, tmp_path: Path) -> None:
    with changing(tmp_path / "models"):
        result = add_onnx()
    assert result.exit_code == 1
    assert "another clipstack-models is changing" in result.stderr
    assert add_onnx().exit_code == 0


def test_damaged_model_is_named_and_others_are_listed(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx()
    for name, text in (("foreign", 'name: "foreign" output [ { label_filename: "labels.txt" } ]'), ("torn", "name: {")):
        shutil.copytree(tmp_path / "models" / "mine", tmp_path / "models" / name)
        (tmp_path / "models" / name / "config.pbtxt").write_text(text)
    result = invoke("list", "--models", tmp_path / "models")
    assert "mine   1        onnx" in result.stdout
    assert "foreign is damaged (config.pbtxt has no crop, fps" in result.stderr
    assert "torn is damaged" in result.stderr
    assert invoke("remove", "torn", "--models", tmp_path / "models").exit_code == 0


def test_leftovers_of_a_killed_command_are_removed(add_onnx: Run, tmp_path: Path) -> None:
    (tmp_path / "models" / ".making-dead" / "mine").mkdir(parents=True)
    assert add_onnx().exit_code == 0
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mine"]


def test_clip_larger_than_a_slot_names_the_setting(add_onnx: Run) -> None:
    result = add_onnx("--frames", 40, "--size", 224, shape=(1, 3, 40, 224, 224), classes=2)
    assert result.exit_code == 0, result.output
    assert "Restart with CLIPSTACK_SLOT_MB=6" in result.stderr
