"""What runs inside a decoder process, called by the pool in app/decoding/pool.py: it is made ready once, then given tasks.

Before its first task each has decoded films of our own (app/decoding/warmup.py): no upload is the first.
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
from app.media.handles import reached
from app.media.types import ClipRequest, DecodeResult, Limits, Media, Source
from app.sandbox import SandboxConfig, confine, demand
from app.video import decode as video
from app.video import gpu_decoding
from app.video.gpu_decoding import GpuUnavailable

Result = TypeVar("Result")

NICE = 5  # nginx and web go first: what they do is short, and a refusal must not wait for a video
REHEARSED = (warmup.WIDTH * warmup.HEIGHT, max(warmup.FRAMES.values()), 60.0)  # Limits of films of our own
TRIM_TASKS = 20  # what tasks have freed is given back after so many: each time costs a tenth of a decode

_fault = ""  # of this process's rehearsal
_tasks = 0  # that this process has done


def prepare(confinement: SandboxConfig, files: dict[str, bytes]) -> None:
    """Confine this process, and have it decode `files`; what goes wrong with them is told by `rehearsed`."""
    global _fault
    os.nice(NICE)
    warmup.hold(files)
    confine(confinement)
    try:
        for source, request in warmup.requests(files):
            decode(source, probe(source, Limits(*REHEARSED)), request)
        _fault = ""
    except Exception as error:  # whatever it is: uploads may fare better
        _fault = f"its decoders cannot read {source.path} of our own: {type(error).__name__}: {error}"[:200]


def rehearsed() -> tuple[int, str]:
    """This process, and what went wrong when it decoded films of our own; empty when nothing did."""
    return os.getpid(), _fault


def probe(source: Source, limits: Limits) -> Media:
    """Tell what a file is, in this process."""
    source = reached(source)
    form = recognise(source.read(HEAD_BYTES))
    if form.kind == "image":
        return pictures.probe(source, limits)
    return animations.probe(source, limits) if form.name in animations.ANIMATED else video.probe(source, limits)


def decode(source: Source, media: Media, request: ClipRequest, limits: Limits | None = None) -> DecodeResult:
    """Write clips of a file whose measured length is within `limits`, in this process."""
    source = reached(source)
    if media.kind == "image":
        return pictures.decode(source, media, request)
    if not request.on_gpu:
        return video.decode(source, media, request, limits)
    try:
        gpu = gpu_decoding.here()
    except GpuUnavailable as error:
        return replace(video.decode(source, media, request, limits), not_on_gpu=str(error))
    return video.decode(source, media, request, limits, gpu)


def limited(timeout_s: float, function: Callable[..., Result], *arguments: object) -> Result:
    """Run a task with processor time for itself; the clock's limit, kept by the service, usually comes first."""
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
        raise RuntimeError(f"{type(error).__name__}: {error}") from error  # the service takes no others from here
    finally:
        _tasks += 1
        if _tasks % TRIM_TASKS == 0:
            give_back()
