#!/usr/bin/env python3
"""From a file to a clip where the model wants it: decoded on the CPU, and on the GPU, of a short and of a long video.

    python3 bench/gpu/decode.py --machine "one NVIDIA H200" --output decode.json
    python3 bench/gpu/decode.py --cpu-check         the same steps without a GPU, with films of a few seconds

A process of its own also for bench/gpu/run.py: FFmpeg must make the context on the GPU before torch does. Needs the
service's own packages (PyAV, decord) and torch with CUDA; torchcodec, where it is installed, is measured beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(path) for path in (ROOT / "site", ROOT) if path.is_dir()]
os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")

import av  # noqa: E402
import numpy as np  # noqa: E402
from av.error import FFmpegError  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from bench.environment import described  # noqa: E402

WRONG, NO_DEVICE = 1, 3
FRAMES, SPAN_S, RESIZE, CROP = 16, 2.5, 256, 224  # of an X3D-M clip
AT_ONCE = (1, 4)


class StopRule(NamedTuple):
    """Minimum seconds and clips of one measurement."""

    seconds: float
    clips: int


MEASURED, CHECKED = StopRule(3.0, 10), StopRule(0.1, 1)
ALLOWED = 4.0  # largest mean difference to the first CPU reader in grey levels of 255: scaling filters differ


class Film(NamedTuple):
    """A test film: its name, length and size."""

    name: str
    seconds: int
    width: int
    height: int


FILMS = (Film("short", 10, 340, 256), Film("long", 60, 1920, 1080))
SMALL = (Film("short", 3, 340, 256), Film("long", 4, 960, 540))

Clip = Any  # uint8 (FRAMES, CROP, CROP, 3), an array or a tensor


def write(film: Film, folder: Path) -> Path:
    """Write the film in H.264, 30 frames per second, key frames every two seconds: a pan over a picture."""
    path = folder / f"{film.name}.mp4"
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 236, (film.height // 8 + 2, film.width // 4 + 2, 3)).astype(np.float32)
    coarse = (coarse + np.roll(coarse, 1, 0) + np.roll(coarse, 1, 1) + np.roll(coarse, 2, 1)) / 4
    wide = coarse.repeat(8, 0).repeat(8, 1)[: film.height].astype(np.uint8)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"preset": "veryfast", "g": "60"})
        stream.width, stream.height, stream.pix_fmt = film.width, film.height, "yuv420p"
        for number in range(film.seconds * 30):
            left = 2 * number % (wide.shape[1] - film.width)
            picture = np.ascontiguousarray(wide[:, left : left + film.width])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return path


def ways(path: Path, device: str) -> Iterator[tuple[str, Callable[[], Clip]]]:
    """Yield each way to a clip from the middle of the film, with its name; each opens the file, like a request."""
    import torch

    from app.media.formats import HEAD_BYTES, recognise
    from app.media.frames import centre_crop, scaled_size
    from app.media.sampling import frames_at
    from app.media.types import Limits, Source
    from app.video.container import ffmpeg_name
    from app.video.decode import probe
    from app.video.decord_reader import DecordReader
    from app.video.gpu_frames import DeviceReader
    from app.video.packet_reader import PacketReader
    from app.video.readers import Reader

    source = Source(str(path), 0, path.stat().st_size)
    media = probe(source, Limits(1 << 30, 1 << 30, 1 << 30))
    demuxer = recognise(source.read(HEAD_BYTES)).name
    size = scaled_size(media.width, media.height, RESIZE)
    begin_s = ((media.duration_s or 0.0) - SPAN_S) / 2
    times_s = [begin_s + SPAN_S * number / FRAMES for number in range(FRAMES)]

    def read(make: Callable[[], Reader], place: Clip, finish: Callable[[], None]) -> Clip:
        reader = make()
        for number, frame in enumerate(reader.read(frames_at(reader.timing, times_s))):
            place[number] = centre_crop(frame, CROP)
        finish()
        return place

    shape = (FRAMES, CROP, CROP, 3)
    yield (
        "decord, CPU",
        lambda: read(partial(DecordReader, ffmpeg_name(source), size, None), np.empty(shape, np.uint8), _nothing),
    )
    yield (
        "PyAV, CPU",
        lambda: read(partial(PacketReader, source, demuxer, media, size), np.empty(shape, np.uint8), _nothing),
    )
    where = torch.device(device)
    finish = torch.cuda.synchronize if where.type == "cuda" else _nothing
    yield (
        f"PyAV, {'NVDEC' if where.type == 'cuda' else 'as for NVDEC, CPU'}",
        lambda: read(
            partial(DeviceReader, source, demuxer, media, size, where),
            torch.empty(shape, dtype=torch.uint8, device=where),
            finish,
        ),
    )
    numbers = frames_at(DecordReader(ffmpeg_name(source), size, None).timing, times_s)
    yield f"torchcodec, {device}", partial(_torchcodec, path, numbers, size, device)


def _nothing() -> None:
    pass


def _torchcodec(path: Path, numbers: list[int], size: tuple[int, int], device: str) -> Clip:
    import torch
    from torch.nn.functional import interpolate
    from torchcodec.decoders import VideoDecoder

    from app.media.frames import centre_crop

    decoder = VideoDecoder(str(path), device=device, num_ffmpeg_threads=1)
    rows = []
    for number in numbers:  # one by one: 16 frames of a large film take 100 MB
        scaled = interpolate(decoder[number][None].float(), size[::-1], mode="bicubic", antialias=True)[0]
        rows.append(centre_crop(scaled.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0), CROP))
    if decoder.cpu_fallback:
        raise RuntimeError(f"torchcodec did not decode on {device}: {decoder.cpu_fallback}")
    clip = torch.stack(rows)
    if clip.is_cuda:
        torch.cuda.synchronize()
    return clip


def measure(film: Path, device: str, enough: StopRule) -> dict[str, Any]:
    """Return the figures of every way, or the reason for none; all are compared with the first way."""
    figures: dict[str, Any] = {}
    expected: NDArray[np.float64] | None = None
    for name, way in ways(film, device):
        try:
            clip = _on_host(way())
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


def _on_host(clip: Clip) -> NDArray[np.float64]:
    return np.asarray(clip if isinstance(clip, np.ndarray) else clip.cpu(), np.float64)


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


def show(film: str, told: dict[str, Any]) -> None:
    """Print the figures of one film."""
    for name, row in told.items():
        if "left_out" in row:
            print(f"{film:5} {name:24} left out: {row['left_out']}", flush=True)
            continue
        right = f"{'good ' if row['good'] else 'WRONG'} {row['difference']:.2f}"
        for count in AT_ONCE:
            figures = row[f"at_once_{count}"]
            times = f"{figures['p50_ms']:9.2f} ms {figures['p99_ms']:9.2f} p99 {figures['clips_per_s']:8.1f} clips/s"
            print(f"{film:5} {name:24} {count} at once {times}   {right}", flush=True)


def used() -> int | None:
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
    cpu, before = arguments.cpu_check, used()
    try:
        from app.video.gpu_frames import create_context

        context = None if cpu else create_context(0)
    except FFmpegError as error:
        print(f"no CUDA device here that FFmpeg can decode on: {error} (--cpu-check needs none)", file=sys.stderr)
        return NO_DEVICE
    device = "cpu" if cpu else "cuda:0"
    result: dict[str, Any] = {"machine": arguments.machine} | described() | {"on": device, "films": {}}
    with tempfile.TemporaryDirectory(prefix="clipstack-decode-") as folder:
        for film in SMALL if cpu else FILMS:
            figures = measure(write(film, Path(folder)), device, CHECKED if cpu else MEASURED)
            result["films"][film.name] = film._asdict() | {"ways": figures}
            show(film.name, figures)
    after = used()
    if context is not None and before is not None and after is not None:
        result["held_bytes"] = after - before
        print(f"memory of the GPU that this process holds: {(after - before) / (1 << 20):.1f} MiB")
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if all(row["good"] for film in result["films"].values() for row in film["ways"].values()) else WRONG


if __name__ == "__main__":
    sys.exit(main())
