"""Upload rate, measured on past uploads."""

from __future__ import annotations

ENOUGH_S = 0.3  # of sending: the first bytes only fill buffers
ENOUGH_BYTES = 1 << 20  # a faster upload of this size is measured too


class Rate:
    """Upload rate in bytes per second, None while unknown."""

    def __init__(self, bytes_s: float | None = None) -> None:
        self.bytes_s = bytes_s
        self._given = bytes_s is not None

    def learn(self, sent: int, seconds: float) -> None:
        """Include one upload, or its beginning; the newest measurement counts half."""
        if self._given or seconds <= 0 or (seconds < ENOUGH_S and sent < ENOUGH_BYTES):
            return
        seen = sent / seconds
        self.bytes_s = seen if self.bytes_s is None else (self.bytes_s + seen) / 2
