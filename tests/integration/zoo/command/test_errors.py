"""Errors of `clipstack-models`: one paragraph each, and nothing is left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from tests.support.checkpoints import labels_file, official_x3d, onnx_file
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.architectures.checkpoints import read_checkpoint
from triton_repo.zoo.architectures.x3d import VARIANTS
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.names import LITE, PUBLISHED, RESNETS, X3D

WEIGHTS = {"a.weight": torch.arange(4.0), "a.bias": torch.ones(2)}


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch ran",)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of three classes."""
    return official_x3d(tmp_path_factory.mktemp("good") / "X3D_XS.pyth", classes=3)


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Run `clipstack-models ...` in its own folder, check that it fails cleanly, and return its message."""
    models = tmp_path / "models"

    def run(*arguments: str | Path) -> str:
        result: Result = CliRunner().invoke(main, [*map(str, arguments), "--models", str(models)])
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        assert result.stderr.startswith("✗ ")
        assert result.stderr.count("\n") == 1, "one paragraph"
        assert not models.exists() or not list(models.iterdir()), "nothing half-installed"
        return result.stderr

    return run


def own(file: Path, labels: Path) -> tuple[str | Path, ...]:
    return ("add", "own", "--arch", "x3d_xs", "--weights", file, "--labels", labels, "--size", "32")


@pytest.mark.parametrize("labels", [2, 5])
def test_wrong_label_count_names_the_layer(
    labels: int, good: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    words = refused(*own(good, labels_file(tmp_path / "labels.txt", labels)))
    assert f"has 3 classes (blocks.5.proj.weight, blocks.5.proj.bias), but there are {labels} labels" in words


def test_own_classes_need_labels(good: Path, refused: Callable[..., str]) -> None:
    assert "but there are 400 labels: give --labels with 3 lines" in refused("add", "x3d_xs", "--from-file", good)


def test_checkpoint_of_another_network_names_the_layers(good: Path, refused: Callable[..., str]) -> None:
    words = refused("add", "x3d_l", "--from-file", good)
    assert "X3D_XS.pyth does not fit x3d_l: missing: blocks.1.res_blocks.3." in words
    words = refused("add", "resnet18", "--from-file", good)
    assert "missing: conv1.weight, bn1.weight, bn1.bias and " in words
    assert "unexpected: blocks.0.conv.conv_t.weight" in words


def test_other_shapes_name_the_layers(good: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    content = torch.load(good, weights_only=True)["model_state"]
    torch.save(content | {"blocks.0.norm.weight": torch.ones(5)}, tmp_path / "odd.pth")
    words = refused(*own(tmp_path / "odd.pth", labels_file(tmp_path / "labels.txt", 3)))
    assert "blocks.0.norm.weight is (5,) instead of (24,)" in words


def test_values_that_are_no_numbers(good: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    content = torch.load(good, weights_only=True)["model_state"]
    content["blocks.0.norm.bias"][3] = float("nan")
    torch.save(content, tmp_path / "nan.pth")
    words = refused(*own(tmp_path / "nan.pth", labels_file(tmp_path / "labels.txt", 3)))
    assert "holds NaN or infinity in blocks.0.norm.bias" in words


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "beside the weights"])
def test_pickle_with_code_is_not_run(
    inside: bool, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": WEIGHTS, "extra": Evil()} if inside else Evil(), tmp_path / "evil.pth")
    words = refused("add", "x3d_xs", "--from-file", tmp_path / "evil.pth")
    assert "was not loaded: it is a pickle that calls posix.system" in words
    assert "torch.save(model.state_dict(), 'weights.pth')" in words
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_file(share: float, good: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    content = good.read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: int(share * len(content))])
    assert "damaged or cut off" in refused("add", "x3d_xs", "--from-file", tmp_path / "cut.pth")


def test_truncated_safetensors(refused: Callable[..., str], tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-3])
    assert "damaged or cut off" in refused("add", "x3d_xs", "--from-file", tmp_path / "w.safetensors")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Not found</title>", b"\x80\x02", bytes(100)])
def test_file_that_is_no_checkpoint(content: bytes, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_bytes(content)
    assert "page.pth" in refused("add", "x3d_xs", "--from-file", tmp_path / "page.pth")


def test_checkpoint_without_weights(refused: Callable[..., str], tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "empty.pth")
    assert "holds no state dict (it holds epoch, loss)" in refused(
        "add", "x3d_xs", "--from-file", tmp_path / "empty.pth"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "x3d_xxl"), "no published model 'x3d_xxl'; published are x3d_xs, x3d_s"),
        (("add", "../evil", "--arch", "x3d_xs", "--weights", "w.pth"), "'../evil' is no name for a model"),
        (("add", "x3d_xs", "--from-file", "nowhere.pth"), "nowhere.pth does not exist"),
        (("add", "camera_motion", "--arch", "x3d_xs", "--weights", "w.pth"), "choose another name"),
        (("add", "objects", "--arch", "resnet18", "--weights", "w.pth"), "choose another name"),
        (("add", "frame_quality", "--arch", "resnet18", "--weights", "w.pth"), "choose another name"),
        (("add", "x3d_xs", "--url", "ftp://127.0.0.1/X3D_XS.pyth"), "is not the address of a file"),
        (("add", "s3d", "--from-file", "w.pth", "--size", "112"), "at least 14 frames of 224 x 224 pixels"),
        (
            ("add", "mvit_v2_s", "--from-file", "w.pth", "--frames", "8"),
            "needs clips of exactly 16 frames of 224 x 224",
        ),
        (("add", "resnet18", "--from-file", "w.pth", "--frames", "8"), "takes one picture"),
        (("add", "x3d_xs", "--from-file", "w.pth", "--size", "64", "--resize", "32"), "has no middle of 64"),
        (("show", "nothing"), "there is no model 'nothing'"),
        (("show", "../models"), "is no name for a model"),
        (("verify", "nothing"), "there is no model 'nothing'"),
        (("remove", "nothing"), "there is no model 'nothing'"),
        (("remove", "nothing@1"), "there is no model 'nothing'"),
        (("remove", "nothing@latest"), "'latest' is not a version"),
        (("remove", "../models"), "is no name for a model"),
        (("remove", "camera_motion"), "camera_motion is the default model"),
        (("remove", "frame_quality"), "frame_quality is built in"),
        (("remove", "objects"), "objects is built in"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_wrong_request(arguments: tuple[str, ...], words: str, refused: Callable[..., str]) -> None:
    assert words in refused(*arguments)


@pytest.mark.parametrize(
    ("shape", "classes", "softmax", "options", "words"),
    [
        ((1, 3, 2, 8, 8), 4, False, (), "gives scores of the shape [1,4], and there are 3 labels"),
        ((1, 3, 4, 8, 8), 3, False, (), "would be float [1, 3, 2, 8, 8]: check --frames, --size and --layout"),
        ((1, 3, 2, 8, 8), 3, True, (), "gives probabilities already (they add up to 1): say --output probabilities"),
        ((1, 3, 2, 8, 8), 3, False, ("--output", "probabilities"), "they are logits, so leave out --output"),
        ((1, 3, 2, 8, 8), 3, False, ("--layout", "NCHW"), "the layout NCHW is not one of videos"),
    ],
    ids=["classes", "clip", "probabilities", "logits", "layout"],
)
def test_onnx_that_does_not_fit(
    shape: tuple[int, ...],
    classes: int,
    softmax: bool,
    options: tuple[str, ...],
    words: str,
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    file = onnx_file(tmp_path / "m.onnx", shape, classes, softmax)
    labels = labels_file(tmp_path / "labels.txt", 3)
    clip = ("--frames", "2", "--size", "8")
    assert words in refused("add", "mine", "--onnx", file, "--labels", labels, *clip, *options)


def test_truncated_onnx(refused: Callable[..., str], tmp_path: Path) -> None:
    file = onnx_file(tmp_path / "m.onnx", (1, 3, 2, 8, 8), 3)
    file.write_bytes(file.read_bytes()[:500])
    labels = labels_file(tmp_path / "labels.txt", 3)
    words = refused("add", "mine", "--onnx", file, "--labels", labels, "--frames", "2", "--size", "8")
    assert "is no ONNX model, or is cut off" in words


@pytest.mark.parametrize("text", [b"one\n\nthree\n", b"one\ntwo\x07\nthree", b"\xff\xfe\x00", b""])
def test_invalid_labels_file(text: bytes, good: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(text)
    assert "labels.txt" in refused(*own(good, tmp_path / "labels.txt"))


@pytest.mark.parametrize(
    "words", ["mine --arch x3d_xs", "x3d_xs --std 0", "x3d_xs --mean 1,2", "x3d_xs --mean nan", "m --onnx m.onnx"]
)
def test_wrong_command_line_is_another_exit_code(words: str) -> None:
    assert CliRunner().invoke(main, ["add", *words.split()]).exit_code == 2


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "epoch": 3},
        {"model_state": WEIGHTS, "cfg": "x"},
        {f"module.{name}": tensor for name, tensor in WEIGHTS.items()},
        {"state_dict": {f"module.model.{name}": tensor for name, tensor in WEIGHTS.items()}},
    ],
    ids=["bare", "state_dict", "model_state", "module.", "module.model. in state_dict"],
)
def test_checkpoint_in_every_wrapping(content: dict[str, object], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    assert read_checkpoint(tmp_path / "w.pth").keys() == WEIGHTS.keys()


def test_safetensors(tmp_path: Path) -> None:
    save_file({f"module.{name}": tensor for name, tensor in WEIGHTS.items()}, tmp_path / "w.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "w.safetensors")["a.weight"], WEIGHTS["a.weight"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_catalogue_equals_torchvision(name: str) -> None:
    known = published(name)
    assert len(known.labels) == (1000 if name in (*RESNETS, *LITE) else 400)
    assert known.url.startswith("https://")
    if name not in (*X3D, *LITE):
        from torchvision import models

        weights = models.get_model_weights(name).DEFAULT
        preset = weights.transforms()
        assert (known.url, known.labels) == (weights.url, tuple(weights.meta["categories"]))
        assert (known.mean, known.std) == (tuple(preset.mean), tuple(preset.std))
        assert (known.spec.crop, known.spec.resize) == (preset.crop_size[0], preset.resize_size[0])
        if known.spec.kind == "video":
            assert f"`frame_rate={known.spec.fps:g}`" in weights.meta["_docs"]
            assert f"`clip_len={known.spec.frames}`" in weights.meta["_docs"]


def test_names_are_those_of_the_networks() -> None:
    assert tuple(VARIANTS) == X3D
