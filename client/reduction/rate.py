"""How fast files go to the service, by those that went."""

from __future__ import annotations

ENOUGH_S = 0.3  # of sending: the first bytes fill buffers and say nothing
ENOUGH_BYTES = 1 << 20  # sent in no time at all, that is quick enough to know


class Rate:
    """Bytes a second, None as long as nobody knows."""

    def __init__(self, bytes_s: float | None = None) -> None:
        self.bytes_s = bytes_s
        self._given = bytes_s is not None

    def learn(self, sent: int, seconds: float) -> None:
        """Take one upload, or its beginning, into account; the newest counts half."""
        if self._given or seconds <= 0 or (seconds < ENOUGH_S and sent < ENOUGH_BYTES):
            return
        seen = sent / seconds
        self.bytes_s = seen if self.bytes_s is None else (self.bytes_s + seen) / 2
