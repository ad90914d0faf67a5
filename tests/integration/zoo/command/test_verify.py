"""`clipstack-models verify`: a model against its source."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.integration.zoo.command.models_command import Run, invoke
from tests.support.checkpoints import official_resnet
from tests.support.films import numbered, write_video
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.repository.store import installed


def test_verify_compares_with_the_network_in_torch(x3d: Path) -> None:
    result = invoke("verify", "x3d_xs", "--clips", 4, "--precision", "f32", "--models", x3d / "models")
    assert result.exit_code == 0, result.output
    header, row, _, last = (line.rstrip() for line in result.stdout.splitlines())
    assert header.split()[:3] == ["engine", "precision", "clips"]
    assert row.split()[:4] == ["openvino", "f32", "4", "random"]
    assert float(row.split()[4]) < 1e-3
    assert "100.0%" in row
    assert row.endswith("good")
    assert last == "version 1 against torch, seed 0"


def test_verify_compares_other_engines_and_removes_them(tmp_path: Path) -> None:
    file, models = official_resnet(tmp_path / Path(published("resnet18").url).name), tmp_path / "models"
    assert invoke("add", "resnet18", "--from-file", file, "--size", 32, "--models", models).exit_code == 0
    assert installed(models, "resnet18").labels == published("resnet18").labels
    engines = ("--engine", "torch", "--engine", "onnxruntime", "--engine", "openvino")
    result = invoke("verify", "resnet18", "--clips", 3, *engines, "--models", models)
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()[1:-2]] == ["torch", "onnxruntime", "openvino"]
    assert sorted(path.name for path in (models / "resnet18" / "1").iterdir()) == [
        "config.pbtxt",
        "labels.txt",
        "model.bin",
        "model.xml",
        "precision.json",
        "source.json",
    ]


def test_verify_uses_real_clips(x3d: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", [numbered(number) for number in range(20)], 30)
    (tmp_path / "two.txt").write_text("no video")
    words = ("verify", "x3d_xs", "--clips", 1, "--models", x3d / "models", "--videos")
    result = invoke(*words, tmp_path)
    assert result.exit_code == 0, result.output
    assert [line.split()[2:4] for line in result.stdout.splitlines()[1:-2]] == [["1", "random"], ["8", "real"]]
    assert "two.txt: this is text" in result.stderr
    nothing = invoke(*words, tmp_path / "two.txt")
    assert nothing.exit_code == 1
    assert "that x3d_xs could look at" in nothing.stderr


def test_verify_needs_the_original_weights(x3d: Path, tmp_path: Path) -> None:
    moved, models = tmp_path / "moved.pyth", tmp_path / "models"
    shutil.copytree(x3d / "models", models)
    shutil.copy(x3d / "X3D_XS.pyth", moved)
    source = models / "x3d_xs" / "1" / "source.json"
    source.write_text(source.read_text().replace("X3D_XS.pyth", "gone.pyth"))
    gone = invoke("verify", "x3d_xs", "--models", models)
    assert gone.exit_code == 1
    assert "gone.pyth, which x3d_xs was made from, is gone: say where it is with --weights." in gone.stderr
    assert invoke("verify", "x3d_xs", "--clips", 1, "--weights", moved, "--models", models).exit_code == 0
    with moved.open("ab") as file:
        file.write(b"more")
    assert (
        "is not the file that x3d_xs was made from"
        in invoke("verify", "x3d_xs", "--weights", moved, "--models", models).stderr
    )


def test_verify_measures_a_version_without_record(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx()
    version = installed(tmp_path / "models", "mine").served
    record = (version / "precision.json").read_text()
    (version / "precision.json").unlink()
    assert invoke("verify", "mine", "--clips", 2, "--models", tmp_path / "models").exit_code == 0
    assert (version / "precision.json").read_text() == record


def test_verify_fails_for_a_model_that_differs_from_its_source(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx()
    add_onnx("--std", "0.1")
    folder = tmp_path / "models" / "mine"
    for name in ("model.xml", "model.bin"):
        shutil.copy(folder / "1" / name, folder / "2" / name)
    result = invoke("verify", "mine", "--models", tmp_path / "models")
    assert result.exit_code == 1
    assert "differs" in result.stdout
    assert "mine differs from its source" in result.stderr
