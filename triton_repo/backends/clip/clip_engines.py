"""The engines that can run a model for the backend `clip`, behind one interface.

An engine is a class with

    Engine(folder, parameters)    loads the files of one model version; EngineError when that cannot be
    engine.clip_shape             shape of one clip, without the batch
    engine.classes                number of scores of one clip
    engine.infer(clips)           uint8 (B, *clip_shape) -> float32 (B, classes), for any B from 1 up

and stands in ENGINES under the name that `engine` in a model's `config.pbtxt` calls it by.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import openvino
from numpy.typing import NDArray

PRECISIONS = ("f32", "bf16")


class EngineError(Exception):
    """The model's files or parameters cannot be used by this engine."""


class Engine(Protocol):
    clip_shape: tuple[int, ...]
    classes: int

    def infer(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]: ...


class OpenVinoEngine:
    """`model.xml` and `model.bin` on the CPU, in `precision` f32 (answers as torch does) or bf16 (faster).

    The model is compiled twice, each time for one clip. A lone clip is shared by all cores; several clips run
    side by side, each on a core of its own. camera_motion on two cores: 5.3 ms for a lone clip, 3.5 ms for
    each of eight; in one tensor of eight, whose layers do not fit the cache, 7.8 ms for each.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, str]) -> None:
        precision = parameters.get("precision", "f32")
        if precision not in PRECISIONS:
            raise EngineError(f"precision is {precision!r}, known are {', '.join(PRECISIONS)}")
        path = folder / "model.xml"
        if not path.is_file():
            raise EngineError(f"{path} is missing: export the model first")
        try:
            self._load(path, precision)
        except RuntimeError as error:
            raise EngineError(f"{path}: {error}") from error

    def _load(self, path: Path, precision: str) -> None:
        core = openvino.Core()
        model = core.read_model(path)
        self.clip_shape = tuple(size.get_length() for size in list(model.input("CLIP").partial_shape)[1:])
        self.classes = int(model.output("SCORES").partial_shape[1].get_length())
        model.reshape([1, *self.clip_shape])
        hints = {"INFERENCE_PRECISION_HINT": precision}
        lone = core.compile_model(model, "CPU", hints | {"PERFORMANCE_HINT": "LATENCY"})
        many = core.compile_model(model, "CPU", hints | {"PERFORMANCE_HINT": "THROUGHPUT"})
        self._lone = lone.create_infer_request()
        self._many = openvino.AsyncInferQueue(many)  # as many requests at a time as there are streams
        self._many.set_callback(self._keep)

    def _keep(self, request: openvino.InferRequest, target: NDArray[np.float32]) -> None:
        target[:] = request.get_output_tensor(0).data[0]

    def infer(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        scores = np.empty((len(clips), self.classes), np.float32)
        # Inputs are shared, not copied: `ones` keeps them alive until the last answer.
        ones = [np.ascontiguousarray(clips[i : i + 1]) for i in range(len(clips))]
        if len(ones) == 1:
            self._lone.infer({"CLIP": ones[0]}, share_inputs=True)
            self._keep(self._lone, scores[0])
            return scores
        for clip, target in zip(ones, scores, strict=True):
            self._many.start_async({"CLIP": clip}, target, share_inputs=True)
        self._many.wait_all()
        return scores


ENGINES: Mapping[str, Callable[[Path, Mapping[str, str]], Engine]] = {"openvino": OpenVinoEngine}


def load_engine(config: dict[str, Any], folder: Path) -> Engine:
    """The engine of one model version; EngineError when configuration and exported model disagree."""
    parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
    name = parameters.get("engine", "openvino")
    if name not in ENGINES:
        raise EngineError(f"engine is {name!r}, known are {', '.join(ENGINES)}")
    engine = ENGINES[name](folder, parameters)
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


__all__ = ["ENGINES", "Engine", "EngineError", "OpenVinoEngine", "load_engine"]
