"""Every layout of X3D-M on the engine alone: is it right, how long does it take to record, how fast is it."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.gpu import networks
from bench.gpu.first.report import Report
from triton_repo.backends.clip.clip_engines.torch_batches import Batches, Network, Run
from triton_repo.backends.clip.clip_engines.torch_engine import Recorder, TorchEngine, seconds
from triton_repo.backends.clip.clip_engines.torch_program import LAYOUTS, Layout

MOST = 32
KERNELS = 12  # of the profile, those that take longest


def run(report: Report, dry_run: bool) -> None:
    """Measure every layout at batch 1 and MOST; one that fails leaves the others alone."""
    device, most = ("cpu", 2) if dry_run else ("cuda:0", MOST)
    began = time.perf_counter()
    subject = networks.subject("x3d_s" if dry_run else "x3d_m", device, small=dry_run)
    with tempfile.TemporaryDirectory(prefix="clipstack-layouts-") as folder:
        version = networks.write_model(subject, Path(folder), {}) / "1"
        report.add("network", {"name": subject.name, "made_s": time.perf_counter() - began})
        for layout in LAYOUTS:
            with report.part(layout):
                report.add(layout, _measured(subject, version, layout, device, most))
            if device != "cpu":
                torch.cuda.empty_cache()


def _measured(subject: networks.BenchModel, version: Path, layout: Layout, device: str, most: int) -> dict[str, Any]:
    began = time.perf_counter()
    engine = TorchEngine(version, {"precision": "bf16", "device": device, "layout": layout}, most)
    loaded = time.perf_counter()
    where = torch.device(device)
    record = _record_directly if device == "cpu" else Recorder(where)
    batches = Batches(engine.clip_shape, most, where, engine.network_in(layout), record)
    batches.prepare_ends()
    result: dict[str, Any] = {"load_s": loaded - began, "record_s": time.perf_counter() - loaded}
    scores = batches([torch.from_numpy(subject.clips)]).numpy()
    result["largest_difference"] = float(np.abs(scores[:, : engine.classes] - subject.right).max())
    clock: Callable[[Run], float] = _seconds_on_cpu if device == "cpu" else partial(seconds, device=where)
    for size, time_s in batches.seconds(clock).items():
        result[f"batch_{size}"] = {"ms": time_s * 1e3, "clips_per_s": size / time_s}
    if device != "cpu":
        result["memory_mib"] = torch.cuda.memory_reserved() >> 20
        result["kernels"] = _profile(batches, most)
    return result


def _record_directly(network: Network, clips: Tensor) -> Run:
    return lambda: network(clips)


def _seconds_on_cpu(call: Run) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _profile(batches: Batches, most: int) -> list[Any]:
    """Return the kernels that take longest in one run of the largest batch: name, microseconds, calls."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        batches.seconds(lambda call: float(call().sum()), most)
        torch.cuda.synchronize()
    rows = sorted(seen.key_averages(), key=lambda row: -row.self_device_time_total)[:KERNELS]
    return [[row.key[:120], row.self_device_time_total, row.count] for row in rows]
