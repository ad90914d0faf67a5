"""Choice of the packets that must be decoded for some frames of a video; the decoder never sees the others."""

from bisect import bisect_right
from collections.abc import Collection, Sequence


class NeededPackets:
    """Packets of one stream, taken in decoding order, that the frames with the timestamps `needed` depend on.

    `R` is a key frame at which decoding restarts, `f` a needed frame:

        packets    R x x f x x x R x x x R x f x x
        decoded    R x x f               R x f      then the decoder is drained

    `restarts` are the timestamps of these key frames, rising; none if they are unknown, and then all is decoded.
    """

    def __init__(self, needed: Collection[int], restarts: Sequence[int]) -> None:
        self._needed, self._waiting = frozenset(needed), sorted(needed, reverse=True)
        self._sent = set[int]()
        self._restarts = restarts
        self._start = self._find_start()

    def _find_start(self) -> int | None:
        """Return the last restart at or before the next needed frame: no frame shown before it is needed any more."""
        index = bisect_right(self._restarts, self._waiting[-1]) - 1 if self._waiting else -1
        return self._restarts[index] if index >= 0 else None

    @property
    def are_complete(self) -> bool:
        """Whether the packets of all needed frames have been decoded; False without `restarts`."""
        return bool(self._restarts) and not self._waiting

    def must_decode(self, stamp: int | None) -> bool:
        """Return whether the next packet must be decoded, for itself or for another; True without a timestamp."""
        return stamp is None or self._start is None or stamp >= self._start

    def must_show(self, stamp: int | None) -> bool:
        """Return whether the frame of a packet is needed itself."""
        return stamp in self._needed

    def sent(self, stamp: int | None) -> None:
        """Add a packet that was decoded."""
        if stamp is None or stamp not in self._needed:
            return
        self._sent.add(stamp)
        while self._waiting and self._waiting[-1] in self._sent:
            self._waiting.pop()
        self._start = self._find_start()
