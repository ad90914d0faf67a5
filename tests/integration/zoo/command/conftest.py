"""Models that `clipstack-models add` has made."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result

from tests.integration.zoo.command.models_command import Run, invoke
from tests.support.checkpoints import labels_file, official_x3d, onnx_file


@pytest.fixture(scope="module")
def x3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with X3D_XS.pyth, and models/x3d_xs made from it for small clips."""
    folder = tmp_path_factory.mktemp("x3d")
    file = official_x3d(folder / "X3D_XS.pyth")
    result = invoke("add", "x3d_xs", "--from-file", file, "--size", 32, "--frames", 2, "--models", folder / "models")
    assert result.exit_code == 0, result.output
    assert result.stdout == "x3d_xs, version 1: 2 frames in 0.4 s, 32 × 32, 400 labels\n"
    return folder


@pytest.fixture
def add_onnx(tmp_path: Path) -> Run:
    """Add an ONNX model of two frames of 8 x 8 pixels as `mine`."""

    def add(*more: str | Path, classes: int = 3, shape: tuple[int, ...] = (1, 3, 2, 8, 8), **made: bool) -> Result:
        file = onnx_file(tmp_path / f"{classes}.onnx", shape, classes, **made)
        labels = labels_file(tmp_path / f"{classes}.txt", classes)
        clip = ("--frames", 2, "--size", 8, "--models", tmp_path / "models")
        return invoke("add", "mine", "--onnx", file, "--labels", labels, *clip, *more)

    return add
