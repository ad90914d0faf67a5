"""Code that runs inside a decoder process: one preparation, then tasks from the pool (app/decoding/pool.py).

Before its first task each process has decoded the warm-up files (app/decoding/warmup.py).
"""

import math
import os
import resource
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from app.decoding import warmup
from app.images import animations
from app.images import decode as pictures
from app.malloc import give_back
from app.media.formats import HEAD_BYTES, recognise
from app.media.handles import reachable
from app.media.types import ClipRequest, DecodeResult, Limits, Media, Source
from app.sandbox import SandboxConfig, confine, demand
from app.video import decode as video
from app.video import gpu_decoding
from app.video.gpu_decoding import GpuUnavailable

Result = TypeVar("Result")

NICE = 5  # nginx and web have priority: their work is short, and a rejection must not wait for a video
REHEARSED = (warmup.WIDTH * warmup.HEIGHT, max(warmup.FRAMES.values()), 60.0)  # Limits of the warm-up files
TRIM_TASKS = 20  # tasks between two returns of freed memory; each return costs a tenth of a decode

_fault = ""  # error of this process's warm-up
_tasks = 0  # tasks done by this process


def prepare(confinement: SandboxConfig, files: dict[str, bytes]) -> None:
    """Sandbox this process and decode the warm-up `files`; `rehearsed` reports a failure."""
    global _fault
    os.nice(NICE)
    warmup.hold(files)
    confine(confinement)
    try:
        for source, request in warmup.requests(files):
            decode(source, probe(source, Limits(*REHEARSED)), request)
        _fault = ""
    except Exception as error:  # uploads may still succeed
        _fault = f"its decoders cannot read {source.path} of our own: {type(error).__name__}: {error}"[:200]


def rehearsed() -> tuple[int, str]:
    """Return this process's pid and the error of its warm-up; empty after a success."""
    return os.getpid(), _fault


def probe(source: Source, limits: Limits) -> Media:
    """Return the kind and properties of a file, in this process."""
    source = reachable(source)
    form = recognise(source.read(HEAD_BYTES))
    if form.kind == "image":
        return pictures.probe(source, limits)
    return animations.probe(source, limits) if form.name in animations.ANIMATED else video.probe(source, limits)


def decode(source: Source, media: Media, request: ClipRequest, limits: Limits | None = None) -> DecodeResult:
    """Decode the requested clips into the region, in this process, and check the measured length against `limits`."""
    source = reachable(source)
    if media.kind == "image":
        return pictures.decode(source, media, request)
    if not request.on_gpu:
        return video.decode(source, media, request, limits)
    try:
        gpu = gpu_decoding.decoder()
    except GpuUnavailable as error:
        return replace(video.decode(source, media, request, limits), not_on_gpu=str(error))
    return video.decode(source, media, request, limits, gpu)


def limited(timeout_s: float, function: Callable[..., Result], *arguments: object) -> Result:
    """Run a task with a limit on its CPU time. The service's timeout on elapsed time usually expires first."""
    global _tasks
    demand()
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + 2 * timeout_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
    try:
        return function(*arguments)
    except Exception as error:
        if type(error).__module__ in ("builtins", "app.errors"):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from error  # the service accepts no other types
    finally:
        _tasks += 1
        if _tasks % TRIM_TASKS == 0:
            give_back()
