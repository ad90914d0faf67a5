#!/usr/bin/env python3
"""From a file to a clip where the model wants it: decoded on the CPU, and on the GPU, of a short and of a long video.

    python3 bench/gpu/decode.py --machine "one NVIDIA H200" --output decode.json
    python3 bench/gpu/decode.py --cpu-check         the same steps without a GPU, with films of a few seconds

A process of its own also for bench/gpu/run.py: FFmpeg must make the context on the GPU before torch does. Needs the
service's own packages (PyAV, decord) and torch with CUDA; torchcodec, where it is installed, is measured beside them.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(path) for path in (ROOT / "site", ROOT) if path.is_dir()]
os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")

import numpy as np  # noqa: E402
from av.error import FFmpegError  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from bench.environment import describe_machine  # noqa: E402
from bench.gpu.decode_readers import FILMS, SMALL, Clip, ways, write  # noqa: E402

WRONG, NO_DEVICE = 1, 3
AT_ONCE = (1, 4)


class StopRule(NamedTuple):
    """Minimum seconds and clips of one measurement."""

    seconds: float
    clips: int


MEASURED, CHECKED = StopRule(3.0, 10), StopRule(0.1, 1)
ALLOWED = 4.0  # largest mean difference to the first CPU reader in grey levels of 255: scaling filters differ


def measure(film: Path, device: str, enough: StopRule) -> dict[str, Any]:
    """Return the figures of every way, or the reason for none; all are compared with the first way."""
    figures: dict[str, Any] = {}
    expected: NDArray[np.float64] | None = None
    for name, way in ways(film, device):
        try:
            decoded = way()
            clip = np.asarray(decoded if isinstance(decoded, np.ndarray) else decoded.cpu(), np.float64)
        except (FFmpegError, ImportError, RuntimeError, OSError) as error:
            words = str(error).strip().partition("\n")[0][:200]
            figures[name] = {"left_out": f"{type(error).__name__}: {words}", "good": name.startswith("torchcodec")}
            continue
        expected = clip if expected is None else expected
        difference = float(np.abs(clip - expected).mean())
        figures[name] = {"difference": difference, "good": difference <= ALLOWED}
        for count in AT_ONCE:
            figures[name][f"at_once_{count}"] = _speed(way, count, enough)
    return figures


def _speed(way: Callable[[], Clip], count: int, enough: StopRule) -> dict[str, float]:
    """Return the times of clips that `count` threads make concurrently; decoders release the GIL."""
    end = time.perf_counter() + enough.seconds

    def one(_: int) -> list[float]:
        times: list[float] = []
        while len(times) < enough.clips // count + 1 or time.perf_counter() < end:
            started = time.perf_counter()
            way()
            times.append(time.perf_counter() - started)
        return times

    started = time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        times = [spent for part in threads.map(one, range(count)) for spent in part]
    return {
        "p50_ms": float(np.percentile(times, 50)) * 1e3,
        "p99_ms": float(np.percentile(times, 99)) * 1e3,
        "clips_per_s": len(times) / (time.perf_counter() - started),
    }


def show(film: str, figures_by_reader: dict[str, Any]) -> None:
    """Print the figures of one film."""
    for name, row in figures_by_reader.items():
        if "left_out" in row:
            print(f"{film:5} {name:24} left out: {row['left_out']}", flush=True)
            continue
        right = f"{'good ' if row['good'] else 'WRONG'} {row['difference']:.2f}"
        for count in AT_ONCE:
            figures = row[f"at_once_{count}"]
            times = f"{figures['p50_ms']:9.2f} ms {figures['p99_ms']:9.2f} p99 {figures['clips_per_s']:8.1f} clips/s"
            print(f"{film:5} {name:24} {count} at once {times}   {right}", flush=True)


def used_bytes() -> int | None:
    """Return the bytes in use on the first visible GPU, or None if the driver cannot tell."""
    from deploy.gpu import discovery

    try:
        first = discovery.visible(discovery.Nvml().gpus())[0]
    except (discovery.NoGpu, IndexError):
        return None
    return first.total_bytes - first.free_bytes


def main() -> int:
    """Measure decoding and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-check", action="store_true", help="the CPU in the GPU's place, films of a few seconds")
    parser.add_argument("--machine", default="", help="this machine in words, for the JSON")
    parser.add_argument("--output", type=Path, help="file of the JSON")
    arguments = parser.parse_args()
    cpu, before = arguments.cpu_check, used_bytes()
    try:
        from app.video.gpu_frames import create_context

        context = None if cpu else create_context(0)
    except FFmpegError as error:
        print(f"no CUDA device here that FFmpeg can decode on: {error} (--cpu-check needs none)", file=sys.stderr)
        return NO_DEVICE
    device = "cpu" if cpu else "cuda:0"
    result: dict[str, Any] = {"machine": arguments.machine} | describe_machine() | {"on": device, "films": {}}
    with tempfile.TemporaryDirectory(prefix="clipstack-decode-") as folder:
        for film in SMALL if cpu else FILMS:
            figures = measure(write(film, Path(folder)), device, CHECKED if cpu else MEASURED)
            result["films"][film.name] = film._asdict() | {"ways": figures}
            show(film.name, figures)
    after = used_bytes()
    if context is not None and before is not None and after is not None:
        result["held_bytes"] = after - before
        print(f"memory of the GPU that this process holds: {(after - before) / (1 << 20):.1f} MiB")
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if all(row["good"] for film in result["films"].values() for row in film["ways"].values()) else WRONG


if __name__ == "__main__":
    sys.exit(main())
