"""OpenVINO engine for the CPU; every model has it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

# Disable OpenVINO's telemetry.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

from .interface import EXPORT, Clips, Done, EngineError, Rows, Scores, chosen, existing, offered  # noqa: E402
from .openvino_parts.features import add_features  # noqa: E402
from .openvino_parts.memory import release_weights_file  # noqa: E402
from .openvino_parts.streams import Streams, StreamsThread, engine_error, row_of  # noqa: E402
from .precision import automatic_precision  # noqa: E402

PRECISIONS = ("f32", "bf16")
INT8 = "int8"


class OpenVinoEngine:
    """Engine for `model.xml` and `model.bin`, in `precision` f32 (same scores as torch) or bf16 (faster).

    In `precision` int8 it loads `model.int8.xml`, which `clipstack-models quantize` makes. Layers that were not
    quantized calculate in what `auto` stands for.

    Where a batch fills several streams, the model is compiled twice, each time for one clip. All cores share a lone
    clip. Several clips run side by side, in as many streams as the cores allow and a batch can fill. A free stream
    takes the next clip at once, whichever request it belongs to.

    Measurements: docs/decisions/0010-no-end-of-a-batch.md.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        chosen("device", parameters, ["cpu"])
        self.precision = precision = chosen("precision", parameters, (*PRECISIONS, INT8))
        # OpenVINO silently falls back to f32 where the CPU lacks a precision.
        if precision != INT8:
            offered(precision, "CPU", self.precisions())
        path = existing(folder, self.file(precision), "quantize NAME" if precision == INT8 else EXPORT)
        self._max_batch, self._weights = max_batch, path.with_suffix(".bin")
        try:
            self._load(path, precision)
        except RuntimeError as error:
            raise EngineError(f"{path}: {error}") from error

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        """Return the precisions of every version: f32, and bf16 where the CPU calculates in it.

        int8 is not among them: only quantized versions have it, and every CPU calculates in it.
        """
        fast = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return PRECISIONS if fast else PRECISIONS[:1]

    @staticmethod
    def file(precision: str) -> str:
        """Return the name of the model file: one for int8, another for the other precisions."""
        return "model.int8.xml" if precision == INT8 else "model.xml"

    def _load(self, path: Path, precision: str) -> None:
        core = openvino.Core()
        model = core.read_model(path)
        self.clip_shape = tuple(size.get_length() for size in list(model.input("CLIP").partial_shape)[1:])
        self.classes = int(model.output("SCORES").partial_shape[1].get_length())
        model.reshape([1, *self.clip_shape])
        plain = model.clone()  # a lone clip takes 5 % longer with the second output
        self.features = add_features(model)
        # Without pinning, inference leaves cores to decoders that run at the same time (docs/decisions/0010).
        hint = automatic_precision("openvino", self.precisions(), path.parent) if precision == INT8 else precision
        hints = {"INFERENCE_PRECISION_HINT": hint, "ENABLE_CPU_PINNING": False}
        together = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": self._max_batch}
        many = core.compile_model(model, "CPU", hints | together)
        # With one stream all cores share each clip anyway.
        has_streams = int(many.get_property("NUM_STREAMS")) > 1
        lone = core.compile_model(plain, "CPU", hints | {"PERFORMANCE_HINT": "LATENCY"}) if has_streams else many
        self._lone = lone.create_infer_request()
        self._streams = Streams(many, self.classes + self.features)
        self._thread: StreamsThread | None = None

    def warm_up(self) -> None:
        """Infer a blank clip on all cores and one in each stream, then release memory that is not needed any more."""
        self.infer(np.zeros((1, *self.clip_shape), np.uint8))
        self.infer_rows(np.zeros((self._streams.count, *self.clip_shape), np.uint8))
        release_weights_file(self._weights)

    def infer(self, clips: Clips) -> Scores:
        """Return probabilities float32 (B, classes) for clips uint8 (B, *clip_shape)."""
        if len(clips) > 1:
            return self.infer_rows(clips)[:, : self.classes]
        self.drain()
        return _or_raise(self._alone(clips))

    def infer_rows(self, clips: Clips) -> Rows:
        """Return scores and features float32 (B, classes + features) for clips uint8 (B, *clip_shape)."""
        self.drain()
        results: list[Rows | EngineError] = []
        self._streams.begin(clips, results.append)
        self._streams.collect_all()
        return _or_raise(results[0])

    def submit(self, requests: Sequence[tuple[Clips, Done]], with_features: bool = False) -> None:
        """Start all requests; a lone clip without features on an idle engine is inferred at once by all cores."""
        is_lone = len(requests) == 1 and len(requests[0][0]) == 1
        if is_lone and self._streams.are_idle and not with_features:
            clip, done = requests[0]
            done(self._alone(clip))
            return
        self._thread = self._thread or StreamsThread(self._streams)
        self._thread.begin(requests)

    def drain(self) -> None:
        """Wait until all requests are done and end the streams' thread."""
        if self._thread:
            self._thread.end()
            self._thread = None

    def _alone(self, clip: Clips) -> Scores | EngineError:
        """Infer one clip on all cores and return its scores as a batch of one, or the error."""
        try:
            self._lone.infer({"CLIP": np.ascontiguousarray(clip)}, share_inputs=True)
            return row_of(self._lone, self.classes)[None]
        except Exception as error:  # the caller waits for an answer, whatever fails
            return engine_error(error)


def _or_raise(result: Rows | EngineError) -> Rows:
    if isinstance(result, EngineError):
        raise result
    return result
