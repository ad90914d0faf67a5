"""Inference engines of the backend `clip`, one file each, behind the interface in interface.py.

    engine         runs             on            precision        file of a version
    openvino       openvino         CPU           f32, bf16, int8  model.xml, model.int8.xml
    torch          torch            CUDA, CPU     f32, bf16, f16   model.pt2
    onnxruntime    onnxruntime      CPU, CUDA     f32, f16         model.onnx, model.f16.onnx
    tensorrt       tensorrt, torch  CUDA          f32, bf16, f16   model.f32.plan, ...

The parameters `engine`, `precision` and `device` in a model's `config.pbtxt` select the engine; precision.py chooses
what the precision `auto` stands for. Each engine's library is imported only when that engine is loaded. Both the Triton
server and the checkout import this package. The server sees only this folder, so the package imports nothing else of
the project and uses relative imports.
"""

import importlib
from pathlib import Path
from typing import Any

from .interface import Clips, DlpackEngine, Engine, EngineError, Rows, Scores, StreamingEngine, chosen
from .precision import AUTO, agree, automatic_precision, read_record

ENGINES = {
    "openvino": ("openvino_engine", "OpenVinoEngine"),
    "torch": ("torch_engine", "TorchEngine"),
    "onnxruntime": ("onnxruntime_engine", "OnnxRuntimeEngine"),
    "tensorrt": ("tensorrt_engine", "TensorRtEngine"),
}


def engine_class(name: str) -> type[Engine]:
    """Return the class of the engine called `name` in ENGINES.

    Raises:
        EngineError: A library that the engine needs is not installed.
    """
    module, attribute = ENGINES[name]
    try:
        cls: type[Engine] = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    except ImportError as error:
        raise EngineError(f"the engine {name} needs a package that is not installed here: {error}") from error
    return cls


def load_engine(config: dict[str, Any], folder: Path, device: str | None = None) -> Engine:
    """Load one model version and return its engine.

    Args:
        config: The model's `config.pbtxt` as a dictionary.
        folder: The version's folder.
        device: Device that the server assigned, for example cuda:1; the parameter `device` takes precedence.

    Raises:
        EngineError: The configuration and the exported model disagree.
    """
    parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
    if device:
        parameters.setdefault("device", device)
    engine = _load(folder, parameters, max(1, int(config.get("max_batch_size", 1))))
    clip_shape = tuple(int(size) for size in config["input"][0]["dims"])
    classes = int(config["output"][0]["dims"][0])
    if engine.clip_shape != clip_shape:
        raise EngineError(f"config.pbtxt says clips of {clip_shape}, the model takes {engine.clip_shape}")
    if engine.classes != classes:
        raise EngineError(f"config.pbtxt says {classes} classes, the model gives {engine.classes}")
    labels = (folder.parent / config["output"][0]["label_filename"]).read_text(encoding="utf-8").splitlines()
    if len(labels) != classes:
        raise EngineError(f"labels.txt has {len(labels)} labels, the model gives {classes} classes")
    return engine


def _load(folder: Path, parameters: dict[str, str], max_batch: int) -> Engine:
    """Return the engine that the parameters name, with the precision that `auto` stands for."""
    name = chosen("engine", parameters, list(ENGINES))
    cls = engine_class(name)
    if parameters.get("precision") != AUTO:
        return cls(folder, parameters, max_batch)
    precision = automatic_precision(name, cls.precisions(parameters.get("device")), folder)
    engine = cls(folder, parameters | {"precision": precision}, max_batch)
    record = read_record(folder)
    if precision == "f32" or record is None or record.is_native:
        return engine
    # The record was made on a CPU without bf16 instructions: check it on this one, which has them.
    exact = cls(folder, parameters | {"precision": "f32"}, max_batch)
    return engine if agree(engine, exact, parameters.get("scores") == "sigmoid") else exact


__all__ = [
    "ENGINES",
    "Clips",
    "DlpackEngine",
    "Engine",
    "EngineError",
    "Rows",
    "Scores",
    "StreamingEngine",
    "engine_class",
    "load_engine",
]
