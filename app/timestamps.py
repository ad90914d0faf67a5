"""Turn the timestamps of a file into one clock that never jumps back. Pure arithmetic: no file is touched here."""

from __future__ import annotations

# The rules of FFmpeg's own program (fftools/ffmpeg_demux.c, ts_discontinuity_detect): timestamps that fall have
# restarted, and in formats of broadcasts a leap forward is no pause either.
FALL_S = 0.1
LEAP_S = 10.0
BROADCAST = frozenset({"mpegts", "mpeg", "ogg"})  # FFmpeg's demuxers with AVFMT_TS_DISCONT


class Clock:
    """Says for each packet of a stream, in file order, what must be added to its timestamps.

    Two recordings joined to one file:

        decoding times   0 1 2 3 0 1 2 3
        added            0 0 0 0 4 4 4 4

    `ticks` of a timestamp make a second; `demuxer` is FFmpeg's name of the format.
    """

    def __init__(self, ticks: float, demuxer: str) -> None:
        self._fall = round(FALL_S * ticks)
        self._leap = round(LEAP_S * ticks) if demuxer in BROADCAST else None
        self._last: int | None = None
        self._step = 0  # from one packet to the next
        self.offset = 0
        self.jumps = 0

    def advance(self, decode_time: int | None, duration: int) -> int:
        """Take the next packet's decoding time and duration; return the offset for its timestamps."""
        if decode_time is None:
            return self.offset
        time = decode_time + self.offset
        if self._last is not None:
            following = self._last + self._step
            leaps = self._leap is not None and time - following > self._leap
            if time < self._last - self._fall or leaps:
                self.offset += following - time
                self.jumps += 1
                time = following
            elif time > self._last and duration <= 0:
                self._step = time - self._last
        if duration > 0:
            self._step = duration
        self._last = time
        return self.offset

    def following(self) -> int:
        """Return the decoding time of the next packet, as the file would have it, where it does not say."""
        return 0 if self._last is None else self._last + self._step - self.offset

    def shown(self, presentation_time: int | None, decode_time: int | None) -> int | None:
        """Return when a packet's frame is shown, by the offset of that packet; None for a packet without a time.

        A presentation time that lies far from the decoding time is damage.
        """
        stamp = decode_time if presentation_time is None else presentation_time
        if stamp is None:
            return None
        if self._leap is not None and decode_time is not None and abs(stamp - decode_time) > self._leap:
            stamp = decode_time
        return stamp + self.offset
