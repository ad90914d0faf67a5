"""Run of one timeline: the scan fills slots while Triton infers earlier windows; results arrive in order.

scan ── window in a slot ──▶ Triton ── scores ──▶ sink           at most INFLIGHT windows between the two ends
      └─ cuts, progress ──────────────────────▶ sink
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from app import tracing
from app.errors import WrongMediaKind
from app.media.types import Source
from app.timeline.process import open_stream
from app.timeline.scan import ScanSpec, ScanTask
from app.timeline.services import TimelineServices, TimelineSink
from app.timeline.window_inference import WindowInference
from app.timeline.windows import grid

POLL_S = 0.1  # polling interval for cancellation
MAX_TRACED_WINDOWS = 100  # first windows of a run whose inference Triton traces


class Cancelled(Exception):
    """Signal that the timeline was cancelled, or that the process is about to end."""


@dataclass(frozen=True, slots=True)
class TimelineRequest:
    """Parameters of one timeline; None selects the model's value. With `embedding` the sink gets features too."""

    model: str
    window_s: float | None
    hop_s: float | None
    embedding: bool = False


async def timeline(
    services: TimelineServices,
    source: Source,
    request: TimelineRequest,
    sink: TimelineSink,
    is_cancelled: Callable[[], bool],
) -> None:
    """Scan `source` from the window at which `sink` resumes, and infer every window.

    Raises:
        Cancelled: `is_cancelled` returned True.
        ClipstackError: Probing, decoding, the model or inference failed (`app/errors.py`).
    """
    work = asyncio.ensure_future(_timeline(services, source, request, sink))
    try:
        while not (await asyncio.wait([work], timeout=POLL_S))[0]:
            if is_cancelled():
                raise Cancelled
        work.result()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _timeline(services: TimelineServices, source: Source, request: TimelineRequest, sink: TimelineSink) -> None:
    model = await services.retry(lambda: services.registry.get(request.model))
    if request.embedding:
        model.require_embedding()
    with tracing.span("probe"):
        media = await services.decoder.probe(source)
    if media.kind == "image":
        raise WrongMediaKind("a picture has no timeline: send it to /v1/classify")
    layout = grid(model.frames, model.stride, model.fps, request.window_s, request.hop_s)
    spec = ScanSpec(
        grid=layout,
        first=sink.resume(model, layout),
        resize=model.resize,
        crop=model.crop,
        max_windows=services.max_windows,
        limits=services.decoder.limits,
    )
    task, timeout_s = ScanTask(source, media, spec), services.frame_timeout_s
    async with open_stream(task, services.slots, timeout_s, services.decoder.confinement) as stream:
        with tracing.span("scan"), tracing.passing_on(MAX_TRACED_WINDOWS):
            await WindowInference(services, model, media, sink, with_features=request.embedding).follow(stream)
