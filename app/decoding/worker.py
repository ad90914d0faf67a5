"""Code that runs inside a decoder process: `serve` prepares it, then runs tasks of the pool (app/decoding/pool.py).

Before its first task each process has decoded the warm-up files (app/decoding/warmup.py).
"""

import math
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TypeAlias, TypeVar

from app.admission.queue import is_long
from app.decoding import warmup
from app.images import animations
from app.images import decode as pictures
from app.images.source import ReadPicture
from app.malloc import trim
from app.media.formats import HEAD_BYTES, Format, recognise
from app.media.handles import reachable
from app.media.types import ClipRequest, DecodedFile, DecodeResult, Limits, Media, Source
from app.sandbox import Layer, SandboxConfig, confine, current_layers, require_layers
from app.video import decode as video
from app.video import gpu_decoding
from app.video.gpu_decoding import GpuUnavailable
from app.video.probe import OpenVideo, Resources

Result = TypeVar("Result")
Opened: TypeAlias = OpenVideo | ReadPicture

NICE = 5  # nginx and web have priority: their work is short, and a rejection must not wait for a video
WARMUP_LIMITS = (warmup.WIDTH * warmup.HEIGHT, max(warmup.FRAMES.values()), 60.0)  # Limits of the warm-up files
TRIM_TASKS = 20  # tasks between two returns of freed memory; each return costs a tenth of a decode

_tasks = 0  # tasks done by this process


@dataclass(frozen=True, slots=True)
class DecoderReady:
    """First message of a decoder process.

    Attributes:
        layers: The layers of its sandbox.
        fault: Error of its warm-up; empty after a success.
        gpu_unavailable: Why it cannot decode on its GPU; empty if it can or has none.
    """

    layers: tuple[Layer, ...]
    fault: str
    gpu_unavailable: str


def serve(connection: Connection, confinement: SandboxConfig, files: dict[str, bytes]) -> None:
    """Prepare this process, report it, then run tasks and send their results until the service closes the connection.

    A task is its time limit in seconds, a function and its arguments; an error is a result too.
    """
    fault = _prepare(confinement, files)
    gpu_unavailable = gpu_decoding.unavailable_reason() if confinement.gpu is not None else ""
    connection.send(DecoderReady(current_layers(), fault, gpu_unavailable))
    while True:
        try:
            timeout_s, function, arguments = connection.recv()
        except EOFError:
            return
        try:
            result = run_limited(timeout_s, function, *arguments)
        except Exception as error:
            result = error
        connection.send(result)


def _prepare(confinement: SandboxConfig, files: dict[str, bytes]) -> str:
    """Sandbox this process and decode the warm-up `files`; return what went wrong."""
    os.nice(NICE)
    warmup.hold(files)
    if confinement.gpu is not None:  # before the sandbox: CUDA starts threads, opens devices and may write files
        gpu_decoding.prepare(confinement.gpu)
    confine(confinement)
    try:
        for source, request in warmup.requests(files):
            decode_file(DecodeTask(source, request), Limits(*WARMUP_LIMITS))
    except Exception as error:  # uploads may still succeed
        return f"its decoders cannot read {source.path} of our own: {type(error).__name__}: {error}"[:200]
    return ""


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """One file to decode.

    Attributes:
        source: The file.
        request: The clips to write.
        media: Properties from an earlier probe; None to read them in this task.
        format: What the file's first bytes say; None to look.
        only_short: Decode nothing if the file turns out to be a long video.
    """

    source: Source
    request: ClipRequest
    media: Media | None = None
    format: Format | None = None
    only_short: bool = False


def probe(source: Source, limits: Limits) -> Media:
    """Return the kind and properties of a file, in this process."""
    source = reachable(source)
    with _opened(source, recognise(source.read(HEAD_BYTES)), limits, 1) as opened:
        return opened.media


def decode_file(task: DecodeTask, limits: Limits) -> DecodedFile:
    """Read the file's properties, decode its clips into the region and check the measured length, in this process."""
    if task.media is not None:
        return DecodedFile(task.media, decode(task.source, task.media, task.request, limits), 0.0)
    started, source = time.perf_counter(), reachable(task.source)
    form = task.format or recognise(source.read(HEAD_BYTES))
    with _opened(source, form, limits, task.request.threads) as opened:
        media, probe_s = opened.media, time.perf_counter() - started
        if task.only_short and is_long(media, task.request.shape[0]):
            return DecodedFile(media, None, probe_s)
        return DecodedFile(media, decode(source, media, task.request, limits, opened), probe_s)


@contextmanager
def _opened(source: Source, form: Format, limits: Limits, threads: int) -> Iterator[Opened]:
    """Yield a file with its properties, opened once for these and for decoding."""
    if form.kind == "image":
        yield pictures.read(source, limits)
    elif form.name in animations.ANIMATED:
        yield animations.read(source, limits)
    else:
        with video.open_video(source, form.name, limits, threads) as opened:
            yield opened


def decode(
    source: Source,
    media: Media,
    request: ClipRequest,
    limits: Limits | None = None,
    opened: Opened | None = None,
) -> DecodeResult:
    """Decode the requested clips into the region, in this process, and check the measured length against `limits`."""
    source = reachable(source)
    picture = opened if isinstance(opened, ReadPicture) else None
    open_film = opened if isinstance(opened, OpenVideo) else None
    if media.kind == "image":
        return pictures.decode(source, media, request, picture)
    gpu, reason = None, ""
    if request.on_gpu:
        try:
            gpu = gpu_decoding.decoder()
        except GpuUnavailable as error:
            reason = str(error)
    resources = Resources(gpu=gpu, video=open_film, animation=picture)
    decoded = video.decode(source, media, request, limits, resources)
    return replace(decoded, not_on_gpu=reason) if reason else decoded


def run_limited(timeout_s: float, function: Callable[..., Result], *arguments: object) -> Result:
    """Run a task with a limit on its CPU time. The service's timeout on elapsed time usually expires first."""
    global _tasks
    require_layers()
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
            trim()
