"""TensorRT engine for NVIDIA GPUs; needs the packages tensorrt and torch (with CUDA)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorrt
import torch

from .interface import Clips, EngineError, Rows, Scores, chosen, existing, offered

PRECISIONS = ("f32", "bf16", "f16")
LOGGER = tensorrt.Logger(tensorrt.Logger.ERROR)


class TensorRtEngine:
    """Engine for `model.<precision>.plan`, which `clipstack-models bench` builds on this machine.

    A plan is valid for one GPU type and one TensorRT version. torch provides GPU memory and streams. A plan takes at
    most `max_batch` clips, or one clip if the model was imported from ONNX; larger batches are split.
    """

    features = 0

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        self.precision = precision = chosen("precision", parameters, PRECISIONS)
        offered(precision, "GPU", self.precisions())
        self._device = torch.device(chosen("device", parameters, devices()))
        torch.cuda.set_device(self._device)  # TensorRT builds and runs on the current device
        path = existing(folder, self.file(precision))
        plan = tensorrt.Runtime(LOGGER).deserialize_cuda_engine(path.read_bytes())
        if plan is None:
            raise EngineError(
                f"{path} was built for another GPU or TensorRT: run `clipstack-models bench NAME --apply`"
            )
        self._plan, self._context = plan, plan.create_execution_context()
        if self._context is None:
            raise EngineError(f"{path}: the GPU has not the memory that it needs")
        self.clip_shape = tuple(plan.get_tensor_shape("CLIP"))[1:]
        self.classes = int(plan.get_tensor_shape("SCORES")[1])
        fixed = plan.get_tensor_shape("CLIP")[0] == 1
        self._most = 1 if fixed else int(plan.get_tensor_profile_shape("CLIP", 0)[2][0])
        self._max_batch = max_batch

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        """Return the supported precisions; raise EngineError without an NVIDIA GPU."""
        if not torch.cuda.is_available():
            raise EngineError("TensorRT needs an NVIDIA GPU, and torch finds none")
        return PRECISIONS

    @staticmethod
    def file(precision: str) -> str:
        """Return the name of the plan file for this precision."""
        return f"model.{precision}.plan"

    def warm_up(self) -> None:
        """Infer blank batches of one clip and of `max_batch` clips."""
        for batch in {1, self._max_batch}:
            self.infer(np.zeros((batch, *self.clip_shape), np.uint8))

    def infer(self, clips: Clips) -> Scores:
        """Return probabilities float32 (B, classes) for clips uint8 (B, *clip_shape)."""
        return np.concatenate([self._run(clips[i : i + self._most]) for i in range(0, len(clips), self._most)])

    def infer_rows(self, clips: Clips) -> Rows:
        """Return the scores alone: a plan has no output of features."""
        return self.infer(clips)

    def _run(self, clips: Clips) -> Scores:
        batch = torch.from_numpy(np.array(clips, order="C")).to(self._device)
        scores = torch.empty(len(clips), self.classes, device=self._device)
        stream = torch.cuda.current_stream()
        self._context.set_input_shape("CLIP", tuple(batch.shape))
        self._context.set_tensor_address("CLIP", batch.data_ptr())
        self._context.set_tensor_address("SCORES", scores.data_ptr())
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise RuntimeError("TensorRT did not run the model; its log says why")
        result: Scores = scores.cpu().numpy()  # waits for the stream
        return result


def devices() -> list[str]:
    """Return the GPUs of this machine, the default first."""
    return ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
