"""Errors of the engines: missing and damaged files, and configurations that do not fit."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.integration.zoo.engines.engine_model import config
from triton_repo.backends.clip.clip_engines import EngineError, engine_class, load_engine


def test_missing_file_is_named(engine: str, version: Path) -> None:
    file = engine_class(engine).file("f32")
    with pytest.raises(EngineError, match=rf"2/{file} is missing: export the model first"):
        load_engine(config(engine), version.with_name("2"))


def test_a_damaged_file_is_refused(engine: str, version: Path) -> None:
    damaged, file = version.with_name(f"3-{engine}"), engine_class(engine).file("f32")
    damaged.mkdir(exist_ok=True)
    (damaged / file).write_text("<net")
    with pytest.raises(EngineError, match=f"3-{engine}/{file}"):
        load_engine(config(engine), damaged)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("precision", "f7", "precision is 'f7', known are f32, "),
        ("device", "abacus", "device is 'abacus', known are "),
    ],
)
def test_unknown_parameter_values_are_refused(engine: str, version: Path, name: str, value: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        load_engine(config(engine, **{name: value}), version)


def test_missing_precision_is_never_replaced_silently(engine: str, version: Path) -> None:
    missing = [name for name in ("bf16", "f16") if name not in engine_class(engine).precisions()]
    for precision in missing:
        with pytest.raises(EngineError, match=f"precision is '?{precision}"):
            load_engine(config(engine, precision=precision), version)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("input", [{"dims": [1, 8, 8, 3]}], r"clips of \(1, 8, 8, 3\), the model takes \(1, 16, 16, 3\)"),
        ("output", [{"dims": [5], "label_filename": "labels.txt"}], "says 5 classes, the model gives 4"),
    ],
    ids=["clip", "classes"],
)
def test_config_that_contradicts_the_model_is_refused(
    engine: str, version: Path, part: str, value: object, words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        load_engine(copy.deepcopy(config(engine)) | {part: value}, version)


def test_unknown_engine_is_refused(exported: Path) -> None:
    with pytest.raises(EngineError, match="engine is 'abacus', known are openvino, torch, onnxruntime, tensorrt"):
        load_engine(config("abacus"), exported)


def test_engine_names_its_missing_package(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.delitem(sys.modules, "triton_repo.backends.clip.clip_engines.tensorrt_engine", raising=False)
    with pytest.raises(EngineError, match="the engine tensorrt needs a package that is not installed here: .*tensorrt"):
        load_engine(config("tensorrt"), exported)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_tensorrt_without_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    # A fake package with the one name that is read before the GPU
    installed = ModuleType("tensorrt")
    installed.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, severity: None})  # type: ignore[attr-defined]
    module = "triton_repo.backends.clip.clip_engines.tensorrt_engine"
    monkeypatch.setitem(sys.modules, "tensorrt", installed)
    monkeypatch.delitem(sys.modules, module, raising=False)
    try:
        with pytest.raises(EngineError, match="TensorRT needs an NVIDIA GPU, and torch finds none"):
            load_engine(config("tensorrt"), exported)
    finally:
        sys.modules.pop(module, None)
