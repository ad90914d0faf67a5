"""Counts of videos by decoding device, and the reasons for decoding on the CPU instead of the GPU."""

import logging
from collections import Counter
from typing import Any

from app.media.types import DecodeResult

REASONS = 16  # distinct reasons to count and log; files must not fill the log

log = logging.getLogger(__name__)


class DecodeStats:
    """Counts of one worker whose configured device is `device`. Use from one event loop."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._videos: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def count(self, decoded: DecodeResult) -> None:
        """Count one video; log each new reason for not decoding on the GPU once."""
        self._videos["cuda" if decoded.on_gpu else "cpu"] += 1
        reason = decoded.not_on_gpu
        if reason and (reason in self._reasons or len(self._reasons) < REASONS):
            self._reasons[reason] += 1
            if self._reasons[reason] == 1:
                log.warning("a video was decoded on the CPU and not on the GPU: %r", reason)

    def facts(self) -> dict[str, Any]:
        """Return the counts for monitoring."""
        return {"device": self._device, "videos": dict(self._videos), "not_on_gpu": dict(self._reasons)}
