"""torch: on an NVIDIA GPU, and on the CPU to check what the GPU would be given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule

from .interface import Clips, EngineError, Scores, chosen, existing, first_line, offered

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
# The program asserts the types it was exported with, which are others under autocast.
ASSERTION = torch.ops.aten._assert_tensor_metadata.default
Run = Callable[[Tensor], Tensor]


class TorchEngine:
    """`model.pt2`, a program of torch.export with a batch of any size: it holds no Python code, and needs none of ours.

    `device` is cuda (where there is one, the default), cuda:N or cpu. In bf16 and f16 convolutions and products are
    calculated in that precision, and all else in float32, as torch.autocast does. On CUDA every batch up to
    `max_batch` is a CUDA graph, recorded in `warm_up`.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        self._device = torch.device(chosen("device", parameters, devices()))
        precision = chosen("precision", parameters, list(DTYPES))
        offered(precision, self._device.type, self.precisions(self._device.type))
        self._dtype, self._max_batch = DTYPES[precision], max_batch
        self._graphs: dict[int, Run] = {}
        path = existing(folder, self.file(precision))
        try:
            self._load(path)
        except Exception as error:  # zipfile, json and torch each have errors of their own for a damaged archive
            raise EngineError(f"{path} cannot be loaded: {first_line(error)}") from error

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        # On CPUs float16 is slower than float32, where torch has it at all.
        return ("f32", "bf16", "f16") if (device or devices()[0]).startswith("cuda") else ("f32", "bf16")

    @staticmethod
    def file(precision: str) -> str:
        return "model.pt2"

    def _load(self, path: Path) -> None:
        program = torch.export.load(path)
        (entrance,) = program.graph_signature.user_inputs
        (clip,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == entrance)
        ((answer,),) = program.graph.output_node().args
        self.clip_shape = tuple(int(size) for size in clip.meta["val"].shape[1:])
        self.classes = int(answer.meta["val"].shape[1])
        if self._device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            # Else float32 means TF32 in convolutions, which has three digits.
            torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        self._network = prepared(move_to_device_pass(program, self._device).module(), self._dtype)

    def _scores(self, clips: Tensor) -> Tensor:
        reduced = self._dtype != torch.float32
        # No cache: the weights are in the precision already, and a recorded graph must not point into a cache.
        with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, reduced, cache_enabled=False):
            scores: Tensor = self._network(clips)
        return scores.float()

    def warm_up(self) -> None:
        if self._device.type == "cuda":
            for batch in range(self._max_batch, 0, -1):  # the largest first: the others fit into its memory
                self._graphs[batch] = recorded(self._scores, (batch, *self.clip_shape), self._device)
        for batch in {1, self._max_batch}:
            self.infer(np.zeros((batch, *self.clip_shape), np.uint8))

    def infer(self, clips: Clips) -> Scores:
        # Copied: torch has neither tensors that may only be read nor such that run backwards.
        given = torch.from_numpy(np.array(clips, order="C")).to(self._device)
        run = self._graphs.get(len(clips), self._scores)
        scores: Scores = run(given).cpu().numpy()
        return scores


def devices() -> list[str]:
    """The devices of this machine, the default first."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [*(["cuda"] if count else []), "cpu", *(f"cuda:{number}" for number in range(count))]


def prepared(network: GraphModule, dtype: torch.dtype) -> nn.Module:
    """The network with weights of convolutions in the order of memory that GPUs want, and in the precision."""
    if dtype != torch.float32:
        for node in network.graph.find_nodes(op="call_function", target=ASSERTION):
            network.graph.erase_node(node)
        network.recompile()
    for weight in network.parameters():
        weight.requires_grad_(False)
        if weight.ndim > 1:  # of convolutions and products; normalisations stay in float32
            layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(weight.ndim, torch.preserve_format)
            weight.data = weight.data.to(dtype, memory_format=layout)
    return network


def recorded(run: Run, shape: tuple[int, ...], device: torch.device) -> Run:
    """`run` for clips of one shape as a CUDA graph: the GPU is told once what to do, not kernel by kernel."""
    with torch.cuda.device(device):
        clips = torch.zeros(shape, dtype=torch.uint8, device=device)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # kernels are chosen and loaded now: a recording must not do so
                run(clips)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            scores = run(clips)

    def replay(given: Tensor) -> Tensor:
        clips.copy_(given)
        graph.replay()
        return scores  # overwritten by the next replay: the caller copies it

    return replay


__all__ = ["TorchEngine", "devices"]
