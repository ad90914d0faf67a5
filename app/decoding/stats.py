"""Where videos were decoded: how often on the GPU, how often not although that was asked for, and why."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from app.media.types import DecodeResult

REASONS = 16  # different ones that get a line in the log; files must not fill it

log = logging.getLogger(__name__)


class DecodeStats:
    """Of one worker, whose videos are to be decoded on `device`; used from one event loop."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._videos: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def count(self, decoded: DecodeResult) -> None:
        """Takes note of one video; one line in the log for each new reason why it was not decoded on the GPU."""
        self._videos["cuda" if decoded.on_gpu else "cpu"] += 1
        reason = decoded.not_on_gpu
        if reason and (reason in self._reasons or len(self._reasons) < REASONS):
            self._reasons[reason] += 1
            if self._reasons[reason] == 1:
                log.warning("a video was decoded on the CPU and not on the GPU: %r", reason)

    def facts(self) -> dict[str, Any]:
        """For those who watch the service."""
        return {"device": self._device, "videos": dict(self._videos), "not_on_gpu": dict(self._reasons)}


__all__ = ["DecodeStats"]
