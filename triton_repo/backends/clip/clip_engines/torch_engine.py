"""torch engine for NVIDIA GPUs, and for the CPU to check GPU models without one."""

import ctypes
import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule
from torch.utils.dlpack import from_dlpack

from .accuracy import random_clips
from .interface import Clips, EngineError, Rows, Scores, chosen, existing, first_line, offered
from .layout_choice import LayoutCache, cache_folder, cache_key, choose, recording
from .torch_batches import Batches, Network, Run
from .torch_program import LAYOUTS, Layout, add_features, has_depthwise, prepared

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
BENCHMARK_LIMIT = 4  # algorithms that cuDNN tries for a convolution: its best guesses come first
CHECK_CLIPS, CHECK_SEED = 4, 1  # clips on which layouts must agree
REPEATS = 20  # runs of one batch that a layout is timed by


class TorchEngine:
    """Engine for `model.pt2`, a torch.export program for any batch size, which contains no Python code.

    `device` is cuda (the default where there is one), cuda:N or cpu. In bf16 and f16 only convolutions and products are
    calculated in that precision, as with torch.autocast; everything else is float32. On CUDA, `warm_up` records batches
    as CUDA graphs in the fastest layout (layout_choice.py); the parameter `layout` selects one layout instead.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        self._device = torch.device(chosen("device", parameters, devices()))
        self.precision = precision = chosen("precision", parameters, list(DTYPES))
        offered(precision, self._device.type, self.precisions(self._device.type))
        self._dtype, self._max_batch = DTYPES[precision], max_batch
        named = chosen("layout", parameters, LAYOUTS) if "layout" in parameters else None
        self._layouts = [layout for layout in LAYOUTS if named in (None, layout)]
        self._path = existing(folder, self.file(precision))
        self._batches: Batches | None = None
        if self._device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.benchmark_limit = BENCHMARK_LIMIT
            # By default float32 convolutions use TF32, which has three decimal digits.
            torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        try:
            program = torch.export.load(self._path)
            if not named and not (precision == "bf16" and has_depthwise(program.graph)):
                self._layouts.remove("depthwise")  # its kernel is for depthwise convolutions in bf16
            (input_name,) = program.graph_signature.user_inputs
            (clip,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == input_name)
            ((output,),) = program.graph.output_node().args
            self.clip_shape = tuple(int(size) for size in clip.meta["val"].shape[1:])
            self.classes = int(output.meta["val"].shape[1])
            self.features = 0
            self._network = self._rows(self._prepared(program, self._layouts[0]))
        except Exception as error:  # zipfile, json and torch each raise their own errors for a damaged archive
            raise EngineError(f"{self._path} cannot be loaded: {first_line(error)}") from error

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        """Return the supported precisions: f32 and bf16, and f16 on CUDA."""
        # On CPUs float16 is slower than float32, where torch supports it at all.
        return ("f32", "bf16", "f16") if (device or devices()[0]).startswith("cuda") else ("f32", "bf16")

    @staticmethod
    def file(precision: str) -> str:
        """Return the name of the model file, which is the same for every precision."""
        return "model.pt2"

    def _prepared(self, program: ExportedProgram, layout: Layout) -> GraphModule:
        """Return the network in `layout`; the program is consumed, and reading it again takes seconds."""
        network = prepared(move_to_device_pass(program, self._device).module(), self._dtype, layout)
        self.features = add_features(network)
        return network

    def network_in(self, layout: Layout) -> Network:
        """Return the network in a layout, from clips to scores."""
        if layout == self._layouts[0]:
            return self._network
        return self._rows(self._prepared(torch.export.load(self._path), layout))

    def _rows(self, network: GraphModule) -> Network:
        reduced, kind, dtype = self._dtype != torch.float32, self._device.type, self._dtype

        def rows(clips: Tensor) -> Tensor:
            # No cache: the weights already have the precision, and a recorded graph must not point into a cache.
            with torch.inference_mode(), torch.autocast(kind, dtype, reduced, cache_enabled=False):
                output: Tensor = network(clips)
            return output.float()

        return rows

    def warm_up(self) -> None:
        """Record the CUDA graphs on a GPU, then infer batches of one clip and of `max_batch` clips."""
        if self._device.type == "cuda":
            with torch.cuda.device(self._device):
                self._record()
        for batch in {1, self._max_batch}:
            self.infer(np.zeros((batch, *self.clip_shape), np.uint8))

    def _record(self) -> None:
        """Record the network's CUDA graphs in the cached layout, or else in the fastest one."""
        folder = cache_folder()
        cache = LayoutCache(folder, cache_key(self._path, self._device, self.precision, self._max_batch))
        cached = cache.read()
        layouts = [layout for layout in self._layouts if layout == cached] or self._layouts
        if len(layouts) == 1:
            try:
                with recording(folder, alone=False):
                    self._batches = self._make_batches(layouts[0])
                    self._batches.prepare()
                print(f"torch: layout {layouts[0]}, not measured", file=sys.stderr, flush=True)
                return
            except RuntimeError as error:
                if len(self._layouts) == 1:
                    raise
                print(f"torch: the cached layout fails: {first_line(error)}", file=sys.stderr, flush=True)
        self._measure(folder, cache)

    def _measure(self, folder: Path | None, cache: LayoutCache) -> None:
        with recording(folder, alone=True):
            clips = torch.from_numpy(np.concatenate(random_clips(self.clip_shape, CHECK_CLIPS, CHECK_SEED)))
            clock = partial(seconds, device=self._device)
            choice = choose(self._layouts, self._make_batches, clock, clips, classes=self.classes)
            summary = ", ".join(f"{name} {time**0.5 * 1e3:.2f} ms" for name, time in choice.seconds.items())
            print(f"torch: layout {choice.layout} of {summary} a clip", file=sys.stderr, flush=True)
            cache.write(choice)
            self._batches = choice.batches
            torch.cuda.empty_cache()  # free the slower layouts
            self._batches.prepare()

    def _make_batches(self, layout: Layout) -> Batches:
        return Batches(self.clip_shape, self._max_batch, self._device, self.network_in(layout), Recorder(self._device))

    def infer(self, clips: Clips) -> Scores:
        """Return probabilities float32 (B, classes) for clips uint8 (B, *clip_shape)."""
        return self.infer_rows(clips)[:, : self.classes]

    def infer_rows(self, clips: Clips) -> Rows:
        """Return scores and features float32 (B, classes + features) for clips uint8 (B, *clip_shape)."""
        # Copy: torch supports neither read-only arrays nor negative strides.
        return self.infer_tensors([torch.from_numpy(np.array(clips, order="C"))])

    def infer_dlpack(self, capsules: Sequence[Any]) -> Rows:
        """Infer like `infer_rows`, without a copy: DLPack capsules of uint8 (b, *clip_shape) on the host or a GPU."""
        return self.infer_tensors([part if isinstance(part, Tensor) else from_dlpack(part) for part in capsules])

    def tensor_at(self, device: int, address: int) -> Tensor:
        """Return the clip uint8 (1, *clip_shape) at an address of the GPU `device`, without a copy.

        An engine on the CPU takes an address of the host.
        """
        shape = (1, *self.clip_shape)
        if self._device.type == "cuda":
            return torch.as_tensor(_GpuArray(address, shape), device=f"cuda:{device}")
        content = (ctypes.c_ubyte * math.prod(shape)).from_address(address)
        return torch.frombuffer(content, dtype=torch.uint8).view(shape)

    def infer_tensors(self, parts: Sequence[Tensor]) -> Rows:
        """Infer like `infer_rows`, for tensors uint8 (b, *clip_shape)."""
        if self._batches is None:
            batch = parts[0] if len(parts) == 1 else torch.cat([part.to(self._device) for part in parts])
            rows: Rows = self._network(batch.to(self._device)).cpu().numpy()
            return rows
        with torch.cuda.device(self._device):
            return self._batches(parts).numpy()


class _GpuArray:
    """GPU memory for torch (https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html)."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        interface = {"shape": shape, "typestr": "|u1", "data": (address, False), "version": 3}
        self.__cuda_array_interface__: dict[str, Any] = interface


def devices() -> list[str]:
    """Return the devices of this machine, the default first."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [*(["cuda"] if count else []), "cpu", *(f"cuda:{number}" for number in range(count))]


class Recorder:
    """Recorder of runs as CUDA graphs, which replay a whole run without launching each kernel.

    All graphs share one memory pool: their runs never overlap, and the scores of one are read before the next starts.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def __call__(self, network: Network, clips: Tensor) -> Run:
        """Record the network's work on these clips, and return what repeats it."""
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(3):  # cuDNN chooses and loads kernels now: a recording must not
                network(clips)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Thread-local: the thread that closes the memory of web workers (gpu_clips) must not end this recording.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            scores = network(clips)

        def run() -> Tensor:
            graph.replay()
            return scores

        return run


def seconds(run: Run, device: torch.device) -> float:
    """Return the seconds of one run on the GPU, the median of REPEATS."""
    times = []
    for _ in range(REPEATS + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize(device)
        times.append(begin.elapsed_time(end) / 1e3)
    return float(np.median(times[3:]))
