"""ONNX models with external data: weights in other files that the model names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from tests.support.checkpoints import labels_file
from triton_repo.zoo.cli.main import main

WEIGHTS = np.random.default_rng(0).normal(0, 1, (2 * 3 * 8 * 8, 3)).astype(np.float32)
Add = Callable[..., Result]


def write_model(path: Path, location: str, within: str = "initializer") -> None:
    """Write a model whose matrix is in the file `location`: as an initializer, or as a constant of a node."""
    tensor = TensorProto(name="w", data_type=1, dims=WEIGHTS.shape, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    if within == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    clip, scores = (helper.make_tensor_value_info(*item) for item in (("x", 1, [1, 3, 2, 8, 8]), ("y", 1, [1, 3])))
    initializers = [tensor] if within == "initializer" else []
    graph = helper.make_graph(nodes, "small", [clip], [scores], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def write_weights(path: Path, scale: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((WEIGHTS * np.float32(scale)).tobytes())
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder, with a secret file in it and one beside it."""
    write_weights(tmp_path / "home" / ".ssh" / "id_rsa")
    write_weights(tmp_path / "outside.bin")
    return tmp_path / "home"


@pytest.fixture
def add(home: Path, tmp_path: Path) -> Add:
    """Add <home>/m.onnx."""
    labels = labels_file(tmp_path / "labels.txt", 3)

    def run(*more: str | Path) -> Result:
        words = ("add", "mine", "--onnx", home / "m.onnx", "--labels", labels, "--frames", 2, "--size", 8)
        return CliRunner().invoke(main, [str(word) for word in (*words, "--models", tmp_path / "models", *more)])

    return run


@pytest.mark.parametrize("within", ["initializer", "constant"])
@pytest.mark.parametrize("location", [".ssh/id_rsa", "./.ssh/../.ssh/id_rsa", "secret.bin", "*/_ORT_MEM_ADDR_/*"])
def test_external_data_of_another_name_is_refused(home: Path, add: Add, location: str, within: str) -> None:
    write_weights(home / "secret.bin")
    write_model(home / "m.onnx", location, within)
    result = add()
    assert result.exit_code == 1
    assert f"wants {location!r} as its weights" in result.stderr


@pytest.mark.parametrize("location", ["../outside.bin", "m.link", "m.folder/outside.bin", "{outside}"])
def test_file_outside_its_folder_is_always_refused(home: Path, tmp_path: Path, add: Add, location: str) -> None:
    (home / "m.link").symlink_to(tmp_path / "outside.bin")
    (home / "m.folder").symlink_to(tmp_path)
    write_model(home / "m.onnx", location.format(outside=tmp_path / "outside.bin"))
    assert add().exit_code == 1
    assert add("--data", tmp_path).exit_code == 1
    assert not (tmp_path / "models" / "mine").exists()


@pytest.mark.parametrize(
    ("location", "options"),
    [
        ("m.onnx.data", ()),
        ("m.bin", ()),
        ("m_weights", ()),
        ("weights.bin", ("--data", "{home}/weights.bin")),
        ("parts/weights.bin", ("--data", "{home}/parts")),
    ],
)
def test_external_data_is_accepted(
    home: Path, tmp_path: Path, add: Add, location: str, options: tuple[str, ...]
) -> None:
    weights = write_weights(home / location)
    write_model(home / "m.onnx", location)
    result = add(*(option.format(home=home) for option in options))
    assert result.exit_code == 0, result.output
    shutil.rmtree(home / ".ssh")
    verify = ["verify", "mine", "--clips", "2", "--models", str(tmp_path / "models")]
    assert CliRunner().invoke(main, verify).exit_code == 0
    write_weights(weights, scale=0.2)
    changed = CliRunner().invoke(main, verify)
    assert changed.exit_code == 1
    assert "is not the file that mine was made from" in changed.stderr


def test_missing_file_of_weights_is_named(home: Path, add: Add) -> None:
    write_model(home / "m.onnx", "m.data")
    result = add()
    assert result.exit_code == 1
    assert "has weights in 'm.data', and there is no such file" in result.stderr


def test_files_written_by_onnx_are_accepted(home: Path, add: Add) -> None:
    write_weights(home / "m.data")
    write_model(home / "m.onnx", "m.data")
    model = onnx.load(home / "m.onnx")
    onnx.save(model, home / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    (home / "m.data").unlink()
    assert add().exit_code == 0
