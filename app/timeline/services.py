"""Interfaces of a timeline run: the services that it uses, and the sink that receives its results."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.decoding.pool import Decoder
from app.errors import NotReady
from app.inference.client import Triton
from app.inference.model import Model
from app.inference.registry import ModelRegistry
from app.inference.retry import retry_until_ready
from app.inference.triton_errors import ModelUnloaded
from app.media.types import Media
from app.shm.pool import SlotPool
from app.timeline.scan import ScanStarted
from app.timeline.windows import Grid

RETRY_DELAY_S = 0.5  # between two attempts while Triton is unavailable

T = TypeVar("T")


class TimelineSink(Protocol):
    """Receiver of the results; the event loop calls it with each window once, in order."""

    def resume(self, model: Model, grid: Grid) -> int:
        """Return the number of the first window that has no scores yet."""

    def start(self, model: Model, media: Media, scan: ScanStarted) -> None:
        """Handle the start of the scan."""

    def advance(self, time_s: float) -> None:
        """Handle progress: decoding is at `time_s` seconds of the video."""

    def add_picture(self, index: int, clip: NDArray[np.uint8]) -> None:
        """Handle a window's pixels as the model sees them, uint8 (T, H, W, 3), valid during the call."""

    def add_cut(self, time_s: float) -> None:
        """Handle a scene cut at `time_s` seconds."""

    def add_window(
        self, index: int, padded: bool, scores: NDArray[np.float32], features: NDArray[np.float32] | None = None
    ) -> None:
        """Handle the scores of a window, float32 (classes,), and its features if the request wants them."""

    def finish(self, decode_s: float, infer_s: float) -> None:
        """Handle the end of the scan, with the seconds spent on decoding and inference."""


@dataclass(frozen=True, slots=True)
class TimelineServices:
    """Services that a timeline uses; all belong to one event loop."""

    decoder: Decoder
    slots: SlotPool
    triton: Triton
    registry: ModelRegistry
    frame_timeout_s: float  # longest time without an event of the scan
    infer_timeout_s: float
    patience_s: float  # longest Triton outage before the timeline fails
    max_windows: int
    has_waiting_uploads: Callable[[], bool]

    async def retry(self, call: Callable[[], Awaitable[T]], is_over: Callable[[], bool] = lambda: False) -> T:
        """Return the result of `call`, retrying while Triton is unavailable; an unloaded model is not retried."""
        deadline = time.monotonic() + self.patience_s

        def should_stop(error: NotReady) -> bool:
            return isinstance(error, ModelUnloaded) or is_over() or time.monotonic() > deadline

        return await retry_until_ready(call, should_stop, RETRY_DELAY_S)
