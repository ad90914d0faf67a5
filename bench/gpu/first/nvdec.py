"""Decoding on NVDEC in the order that the project relies on: FFmpeg makes the context, torch comes after it."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu import decode
from bench.gpu.decode_readers import SMALL, write
from bench.gpu.first.report import Report

TURNS = 3


def run(report: Report, dry_run: bool) -> None:
    """Decode short films by every reader, and open the context again and again."""
    from app.video.gpu_frames import create_context

    context = None if dry_run else create_context(0)
    report.add("context", "FFmpeg's, before torch" if context else "none: on the CPU")
    device = "cpu" if dry_run else "cuda:0"
    with report.part("torch beside it"):
        report.add("torch beside it", _torch_sum(device))
    before = decode.used_bytes()
    with tempfile.TemporaryDirectory(prefix="clipstack-nvdec-") as folder:
        films = {film.name: write(film, Path(folder)) for film in (SMALL[:1] if dry_run else SMALL)}
        report.add("films", list(films))
        for name, film in films.items():
            with report.part(name):
                report.add(name, decode.measure(film, device, decode.CHECKED))
        with report.part("turns"):
            report.add("turns", [_turn(films["short"], device) for _ in range(TURNS)])
    after = decode.used_bytes()
    report.add("growth_bytes", None if before is None or after is None else after - before)


def _torch_sum(device: str) -> float:
    import torch

    return float(torch.ones(2, device=device).sum())


def _turn(film: Path, device: str) -> dict[str, Any]:
    """Open the film again and read a clip; each opening asks for the primary context again."""
    from bench.gpu.decode_readers import ways

    name, way = [(name, way) for name, way in ways(film, device) if name.startswith("PyAV") and name != "PyAV, CPU"][0]
    began = time.perf_counter()
    clip = way()
    mean = float(np.asarray(clip.cpu(), np.float64).mean())
    return {"reader": name, "ms": (time.perf_counter() - began) * 1e3, "mean": mean}
