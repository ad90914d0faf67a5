"""`clipstack-models quantize`: a real quantization of a small network, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.support.networks import tiny_picture
from triton_repo.backends.clip.clip_engines import load_engine
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo.benchmark import engines
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.export import int8
from triton_repo.zoo.export.openvino import write_model
from triton_repo.zoo.repository import engine_config, int8_record
from triton_repo.zoo.repository.store import installed

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    write_model(tiny_picture(), "mine", folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, clip in enumerate(random_clips((1, 72, 72, 3), 16, 3)):
        Image.fromarray(clip[0, 0]).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def models(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "models"))


@pytest.fixture
def quantize(models: Path) -> Run:
    def run(*words: str | Path, name: str = "mine") -> Result:
        arguments = ("quantize", name, "--seconds", "1", "--models", models, *words)
        return CliRunner().invoke(main, [str(word) for word in arguments])

    return run


@pytest.fixture
def refused(quantize: Run, models: Path) -> Callable[..., str]:
    """Run a quantization that must fail cleanly, and return its message."""

    def run(*words: str | Path, name: str = "mine") -> str:
        before = sorted(models.rglob("*"))
        result = quantize(*words, name=name)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        assert sorted(models.rglob("*")) == before, "nothing half-installed"
        return result.stderr

    return run


def test_quantized_version_is_served_in_int8(quantize: Run, models: Path, pictures: Path) -> None:
    data = Path(shutil.copytree(pictures, models.parent / "data"))
    (data / "notes.txt").write_text("no picture")
    result = quantize("--data", data, "--force")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("mine, version 2, int8: int8 ")
    assert "notes.txt" in result.stderr
    model = installed(models, "mine")
    assert (model.versions, engines.own(model)) == ((1, 2), ("openvino", "int8"))
    record = int8_record.read_int8_record(model.served)
    assert record is not None
    assert (record.calibration, record.agreement.clips) == (12, 4)
    exact, fast = (load_engine(engines.configured(model, way), model.served) for way in _ways())
    (clip,) = random_clips(exact.clip_shape, 1, 7)
    assert fast.precision == "int8"
    assert 1e-6 < np.abs(fast.infer(clip) - exact.infer(clip)).max() < 0.3
    shown = CliRunner().invoke(main, ["show", "mine", "--models", str(models)]).stdout
    assert "openvino, int8" in shown
    assert "calibrated on 12 clips" in shown
    again = quantize("--data", pictures, "--force")
    assert again.stdout.startswith("mine, version 3, int8: "), again.output


def _ways() -> tuple[engines.Variant, engines.Variant]:
    return engines.Variant("openvino", "f32"), engines.Variant("openvino", "int8")


def test_slow_int8_is_not_installed(
    refused: Callable[..., str], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_record.Int8Record, "is_close", True)
    monkeypatch.setattr(int8_record, "WORTH_IT", 1e6)
    assert "int8 is not worth it for mine on this CPU" in refused("--data", pictures)


def test_accuracy_control_leaves_sensitive_layers_out(models: Path, tmp_path: Path) -> None:
    source = models / "mine" / "1" / "model.xml"
    clips = random_clips((1, 32, 32, 3), 8, 1)
    counts = []
    for name, max_drop in (("all.xml", None), ("none.xml", 0.0)):
        int8.quantize(source, clips, tmp_path / name, max_drop)
        operations = openvino.Core().read_model(tmp_path / name).get_ops()
        counts.append(sum(node.get_type_name() == "FakeQuantize" for node in operations))
    assert counts[0] > counts[1]


def test_unusable_data_is_refused(refused: Callable[..., str], pictures: Path, tmp_path: Path) -> None:
    few, unreadable = tmp_path / "few", tmp_path / "unreadable"
    few.mkdir()
    assert "has 0 files that mine could look at, and 8 are needed" in refused("--data", few)
    for name in ("00.png", "01.png", "02.png"):
        shutil.copyfile(pictures / name, few / name)
    assert "has 3 files that mine could look at" in refused("--data", few)
    unreadable.mkdir()
    for number in range(9):
        (unreadable / f"{number}.jpg").write_bytes(b"\xff\xd8\xff" + bytes(40))
    words = refused("--data", unreadable)
    assert "skipped" in words
    assert "has 0 files that mine could look at" in words
    assert "nowhere is no folder" in refused("--data", tmp_path / "nowhere")


def test_models_that_cannot_be_quantized_are_refused(
    refused: Callable[..., str], models: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is no model 'other'" in refused("--data", pictures, name="other")
    shutil.copytree(models / "mine", models / "objects")
    assert "objects is built in" in refused("--data", pictures, name="objects")
    config = models / "mine" / "config.pbtxt"
    written = config.read_text()
    config.write_text(engine_config.with_engine(written, "torch", "f32"))
    assert "mine is served by torch; int8 is for OpenVINO on the CPU" in refused("--data", pictures)
    config.write_text(written)
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert "run `deploy/setup quantize`" in refused("--data", pictures)


def test_damaged_weights_leave_the_model_as_it_is(refused: Callable[..., str], models: Path, pictures: Path) -> None:
    (models / "mine" / "1" / "model.xml").write_text("<net/>")
    assert "model.xml cannot be quantized" in refused("--data", pictures)
    assert json.loads((models / "mine" / "1" / "precision.json").read_text())
