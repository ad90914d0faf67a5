"""bf16 measured by OpenVINO, native and emulated, and the precision that engines choose by it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from tests.support.networks import served_picture
from triton_repo.backends.clip import clip_engines
from triton_repo.backends.clip.clip_engines import load_engine
from triton_repo.backends.clip.clip_engines.precision import FILE, PrecisionRecord, read_record
from triton_repo.zoo.export import precision
from triton_repo.zoo.export.openvino import write_model
from triton_repo.zoo.repository.store import InstalledModel, installed

EMULATED = """
import sys
from tests.integration.zoo.engines.test_bf16 import rounding_errors
sys.exit(rounding_errors() != 0)
"""
needs_bf16 = pytest.mark.skipif(not precision.has_bf16(), reason="this CPU has no bf16 instructions")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_model(served_picture(), "picture", folder)
    return folder


@pytest.fixture
def model(models: Path, tmp_path: Path) -> InstalledModel:
    shutil.copytree(models / "picture", tmp_path / "picture")
    return installed(tmp_path, "picture")


def nearest_bf16(values: np.ndarray) -> np.ndarray:
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def rounding_errors() -> int:
    """Return how many emulated sums are not rounded to the nearest bf16 number."""
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    values = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    clip = ops.parameter([64, 64], np.float32)
    model = openvino.Model([ops.matmul(clip, ops.constant(weights), False, False)], [clip], "product")
    rounded = precision.emulated_bf16(model)
    (product,) = [node for node in rounded.get_ordered_ops() if node.get_type_name() == "MatMul"]
    sources = [product.input(index).get_source_output() for index in range(2)]
    seen = openvino.Model(sources, rounded.get_parameters(), "seen")
    sums = openvino.Core().compile_model(seen, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values)
    pairs = zip((nearest_bf16(values), nearest_bf16(weights)), sums.values(), strict=True)
    return sum(int((wanted != got).sum()) for wanted, got in pairs)


@pytest.mark.parametrize("instructions", ["AVX2", "ALL"])
def test_emulation_rounds_to_nearest_bf16_on_every_cpu(instructions: str) -> None:
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    subprocess.run([sys.executable, "-c", EMULATED], env=environment, check=True)


def test_export_records_the_accuracy_of_bf16(models: Path) -> None:
    record = read_record(installed(models, "picture").served)
    assert record is not None
    assert record.is_native == precision.has_bf16()
    assert record.agreement.clips == precision.CLIPS
    assert 1e-5 < record.agreement.mean < 0.03


@needs_bf16
def test_emulated_bf16_is_as_far_from_f32_as_native_bf16(model: InstalledModel) -> None:
    native, emulated = (precision.record(model.served, native=way).agreement for way in (True, False))
    assert 0.5 < emulated.largest / native.largest < 2
    assert 0.5 < emulated.mean / native.mean < 2


@needs_bf16
def test_auto_is_bf16_if_the_record_allows_it(model: InstalledModel) -> None:
    PrecisionRecord(_close(model), is_native=True).write(model.served)
    assert load_engine(model.config, model.served).precision == "bf16"
    PrecisionRecord(_close(model)._replace(top_1=0.9), is_native=True).write(model.served)
    assert load_engine(model.config, model.served).precision == "f32"
    (model.served / FILE).unlink()
    assert load_engine(model.config, model.served).precision == "f32"


def test_auto_is_f32_on_a_cpu_without_bf16(model: InstalledModel, monkeypatch: pytest.MonkeyPatch) -> None:
    PrecisionRecord(_close(model), is_native=True).write(model.served)
    engine = clip_engines.engine_class("openvino")
    monkeypatch.setattr(engine, "precisions", staticmethod(lambda device=None: ("f32",)))
    assert load_engine(model.config, model.served).precision == "f32"


@needs_bf16
@pytest.mark.parametrize(("limit", "used"), [(0.3, "bf16"), (1e-9, "f32")])
def test_emulated_record_is_checked_where_bf16_is_native(
    limit: float, used: str, model: InstalledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    PrecisionRecord(_close(model)._replace(largest=0.0), is_native=False).write(model.served)
    bound = clip_engines.precision.BF16_BOUND._replace(largest=limit, mean=limit)
    monkeypatch.setattr(clip_engines.precision, "BF16_BOUND", bound)
    assert load_engine(model.config, model.served).precision == used


def _close(model: InstalledModel) -> clip_engines.accuracy.Agreement:
    record = read_record(model.served)
    assert record is not None
    return record.agreement._replace(ties=0, largest=0.01, mean=0.001, top_1=1.0)
