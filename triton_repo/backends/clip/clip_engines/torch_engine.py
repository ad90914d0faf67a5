"""torch: on an NVIDIA GPU, and on the CPU to check what the GPU would be given."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule
from torch.utils.dlpack import from_dlpack

from .interface import Clips, EngineError, Scores, chosen, existing, first_line, offered
from .torch_batches import Batches, Network, Run, fastest
from .torch_program import LAYOUTS, Layout, prepared

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
REPEATS = 20  # runs of one batch that a layout is judged by


class TorchEngine:
    """`model.pt2`, a program of torch.export with a batch of any size: it holds no Python code, and needs none of ours.

    `device` is cuda (where there is one, the default), cuda:N or cpu. In bf16 and f16 convolutions and products are
    calculated in that precision, and all else in float32, as torch.autocast does. On CUDA the sizes of a batch are
    CUDA graphs, recorded in `warm_up` in the layout that is the fastest there; `layout` in the parameters names one.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        self._device = torch.device(chosen("device", parameters, devices()))
        precision = chosen("precision", parameters, list(DTYPES))
        offered(precision, self._device.type, self.precisions(self._device.type))
        self._dtype, self._max_batch = DTYPES[precision], max_batch
        named = chosen("layout", parameters, LAYOUTS) if "layout" in parameters else None
        self._layouts = [layout for layout in LAYOUTS if named in (None, layout)]
        self._path = existing(folder, self.file(precision))
        self._batches: Batches | None = None
        if self._device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            # Else float32 means TF32 in convolutions, which has three digits.
            torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        try:
            program = torch.export.load(self._path)
            (entrance,) = program.graph_signature.user_inputs
            (clip,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == entrance)
            ((answer,),) = program.graph.output_node().args
            self.clip_shape = tuple(int(size) for size in clip.meta["val"].shape[1:])
            self.classes = int(answer.meta["val"].shape[1])
            self._network = self._scores(self._prepared(program, self._layouts[0]))
        except Exception as error:  # zipfile, json and torch each have errors of their own for a damaged archive
            raise EngineError(f"{self._path} cannot be loaded: {first_line(error)}") from error

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        # On CPUs float16 is slower than float32, where torch has it at all.
        return ("f32", "bf16", "f16") if (device or devices()[0]).startswith("cuda") else ("f32", "bf16")

    @staticmethod
    def file(precision: str) -> str:
        return "model.pt2"

    def _prepared(self, program: ExportedProgram, layout: Layout) -> GraphModule:
        """The network in `layout`; the given program is used up, and to read it again takes seconds."""
        return prepared(move_to_device_pass(program, self._device).module(), self._dtype, layout)

    def _in(self, layout: Layout) -> Network:
        if layout == self._layouts[0]:
            return self._network
        return self._scores(self._prepared(torch.export.load(self._path), layout))

    def _scores(self, network: GraphModule) -> Network:
        reduced, kind, dtype = self._dtype != torch.float32, self._device.type, self._dtype

        def scores(clips: Tensor) -> Tensor:
            # No cache: the weights are in the precision already, and a recorded graph must not point into a cache.
            with torch.inference_mode(), torch.autocast(kind, dtype, reduced, cache_enabled=False):
                answer: Tensor = network(clips)
            return answer.float()

        return scores

    def warm_up(self) -> None:
        if self._device.type == "cuda":
            with torch.cuda.device(self._device):
                self._record()
        for batch in {1, self._max_batch}:
            self.infer(np.zeros((batch, *self.clip_shape), np.uint8))

    def _record(self) -> None:
        """Records all layouts, keeps the fastest; one that the GPU's libraries cannot do is left out, and named."""
        made: dict[str, Batches] = {}
        for layout in self._layouts:
            batches = Batches(self.clip_shape, self._max_batch, self._device)
            try:
                batches.prepare(self._in(layout), Recorder(self._device))
                made[layout] = batches
            except RuntimeError as error:
                if layout == self._layouts[-1] and not made:
                    raise
                print(f"torch: no layout {layout} here: {first_line(error)}", file=sys.stderr, flush=True)
        times = {layout: batches.timed(lambda run: seconds(run, self._device)) for layout, batches in made.items()}
        best = fastest(times)
        told = ", ".join(f"{layout} {time**0.5 * 1e3:.2f} ms" for layout, time in times.items())
        print(f"torch: layout {best} of {told} a clip", file=sys.stderr, flush=True)
        self._batches = made[best]
        del made, batches
        torch.cuda.empty_cache()  # of those that were slower

    def infer(self, clips: Clips) -> Scores:
        # Copied: torch has neither tensors that may only be read nor such that run backwards.
        return self.infer_tensors([torch.from_numpy(np.array(clips, order="C"))])

    def infer_dlpack(self, capsules: Sequence[Any]) -> Scores:
        """As `infer`, for DLPack capsules of uint8 (b, *clip_shape), each on the host or on any GPU, without a copy."""
        return self.infer_tensors([from_dlpack(capsule) for capsule in capsules])

    def infer_tensors(self, parts: Sequence[Tensor]) -> Scores:
        """As `infer`, for tensors."""
        if self._batches is None:
            whole = parts[0] if len(parts) == 1 else torch.cat([part.to(self._device) for part in parts])
            scores: Scores = self._network(whole.to(self._device)).cpu().numpy()
            return scores
        with torch.cuda.device(self._device):
            scores = self._batches(parts).numpy()
        return scores


def devices() -> list[str]:
    """The devices of this machine, the default first."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [*(["cuda"] if count else []), "cpu", *(f"cuda:{number}" for number in range(count))]


class Recorder:
    """Records runs as CUDA graphs: the GPU is told once what to do, not kernel by kernel.

    All share one pool of memory. Their runs never overlap, and the scores of one are read before the next begins.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def __call__(self, network: Network, clips: Tensor) -> Run:
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(3):  # kernels are chosen and loaded now: a recording must not do so
                network(clips)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            scores = network(clips)

        def run() -> Tensor:
            graph.replay()
            return scores

        return run


def seconds(run: Run, device: torch.device) -> float:
    """Of one run on the GPU, the median of REPEATS."""
    times = []
    for _ in range(REPEATS + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize(device)
        times.append(begin.elapsed_time(end) / 1e3)
    return float(np.median(times[3:]))


__all__ = ["TorchEngine", "devices"]
