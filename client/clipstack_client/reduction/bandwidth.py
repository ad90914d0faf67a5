"""Upload rate, measured on past uploads."""

from __future__ import annotations

MIN_SAMPLE_S = 0.3  # of sending: the first bytes only fill buffers
MIN_SAMPLE_BYTES = 1 << 20  # a faster upload of this size is measured too


class Rate:
    """Upload rate in bytes per second, None while unknown."""

    def __init__(self, bytes_s: float | None = None) -> None:
        self.bytes_s = bytes_s
        self._fixed = bytes_s is not None

    def record(self, sent: int, seconds: float) -> None:
        """Include one upload, or its beginning; the newest measurement counts half."""
        if self._fixed or seconds <= 0 or (seconds < MIN_SAMPLE_S and sent < MIN_SAMPLE_BYTES):
            return
        measured = sent / seconds
        self.bytes_s = measured if self.bytes_s is None else (self.bytes_s + measured) / 2
