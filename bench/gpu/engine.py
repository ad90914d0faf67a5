"""Accuracy and speed of the torch engine alone, for each layout and batch size."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.gpu.networks import BenchModel
from triton_repo.backends.clip.clip_engines.torch_engine import DTYPES, TorchEngine
from triton_repo.backends.clip.clip_engines.torch_program import LAYOUTS

LARGEST_F32 = 1e-3  # largest difference of a probability between two float32 calculations
# bf16 and f16 may differ by this multiple of autocast's own difference, plus a constant.
OF_AUTOCAST, AND = 2.0, 5e-3
LEAST_S = 0.5  # of one measurement


def check(subject: BenchModel, folder: Path, device: str, reduced: str = "bf16") -> list[dict[str, Any]]:
    """Compare every layout in f32 and in `reduced` (bf16 or f16) with float32 on the CPU."""
    rows = []
    autocast_difference = float(np.abs(_autocast(subject, device, DTYPES[reduced]) - subject.right).max())
    for precision, allowed in (("f32", LARGEST_F32), (reduced, OF_AUTOCAST * autocast_difference + AND)):
        for layout in LAYOUTS:
            parameters = {"engine": "torch", "precision": precision, "device": device, "layout": layout}
            row: dict[str, Any] = {"precision": precision, "layout": layout, "allowed": allowed}
            try:
                engine = TorchEngine(folder, parameters, len(subject.clips))
                engine.warm_up()
                difference = float(np.abs(engine.infer(subject.clips) - subject.right).max())
                row |= {"largest_difference": difference, "good": bool(difference <= allowed)}
            except RuntimeError as error:  # a layout that these libraries do not support; the engine skips it too
                row |= {"absent": str(error).splitlines()[0][:200], "good": layout != LAYOUTS[0]}
            rows.append(row)
            if device.startswith("cuda"):
                torch.cuda.empty_cache()
    return rows


def _autocast(subject: BenchModel, device: str, dtype: torch.dtype) -> NDArray[np.float32]:
    """Return the network's scores under torch's own autocast."""
    from triton_repo.zoo.spec import ServedNetwork

    network = ServedNetwork(subject.served).eval().to(device)
    with torch.no_grad(), torch.autocast(device.partition(":")[0], dtype):
        answer: NDArray[np.float32] = network(torch.from_numpy(subject.clips).to(device)).float().cpu().numpy()
    network.to("cpu")
    return answer


def speed(subject: BenchModel, folder: Path, device: str, precision: str, batches: list[int]) -> dict[str, Any]:
    """Time clips on the device until their scores are on the host, in the layout that the engine chose."""
    parameters = {"engine": "torch", "precision": precision, "device": device}
    engine = TorchEngine(folder, parameters, max(batches))
    started = time.perf_counter()
    engine.warm_up()
    result: dict[str, Any] = {"precision": precision, "warm_up_s": time.perf_counter() - started, "batches": {}}
    for batch in batches:
        clips = torch.from_numpy(np.resize(subject.clips, (batch, *subject.clips.shape[1:]))).to(device)
        times = _times(partial(engine.infer_tensors, [clips]))
        result["batches"][str(batch)] = {
            "p50_ms": float(np.percentile(times, 50)) * 1e3,
            "p99_ms": float(np.percentile(times, 99)) * 1e3,
            "clips_per_s": batch / float(np.median(times)),
        }
    return result


def _times(run: Callable[[], object]) -> list[float]:
    """Return the seconds of each run, for at least LEAST_S and 10 runs, after three warm-up runs."""
    for _ in range(3):
        run()
    times: list[float] = []
    while len(times) < 10 or sum(times) < LEAST_S:
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return times
