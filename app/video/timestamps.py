"""Conversion of a file's timestamps to one clock that never jumps back: pure arithmetic without file access.

The client has the same class (client/clipstack_client/reduction/clock.py), and one test checks both.
"""

from __future__ import annotations

# Rules of FFmpeg's own program (fftools/ffmpeg_demux.c, ts_discontinuity_detect): falling timestamps mean a restart,
# and in broadcast formats a leap forward is not a pause either.
FALL_S = 0.1
LEAP_S = 10.0
BROADCAST = frozenset({"mpegts", "mpeg", "ogg"})  # FFmpeg's demuxers with AVFMT_TS_DISCONT


class Clock:
    """Clock that maps each packet of a stream, in file order, to the display time of its frame.

    Two recordings joined into one file:

        decoding times   0 1 2 3 0 1 2 3
        offset           0 0 0 0 4 4 4 4

    `ticks` of a timestamp make a second; `demuxer` is FFmpeg's name of the format.

    Attributes:
        offset: Value added to the timestamps of the last packet.
        jumps: Number of times that the offset changed.
    """

    def __init__(self, ticks: float, demuxer: str) -> None:
        self._fall = round(FALL_S * ticks)
        self._leap = round(LEAP_S * ticks) if demuxer in BROADCAST else None
        self._decoded: int | None = None  # last decoding time
        self._shown = 0  # latest display time
        self._step = 0  # decoding time from one packet to the next
        self._early = 0  # size of a leap that display times have made before decoding times
        self._reach = 0  # longest time from decoding to display
        self.offset = 0
        self.jumps = 0

    def stamp(self, pts: int | None, dts: int | None, duration: int, is_key: bool) -> int | None:
        """Add the next packet; return the display time of its frame, or None for a packet without a time."""
        if pts is not None and dts is not None and pts < dts - self._fall:
            dts = None  # from the previous recording: FFmpeg guesses it if the file, for example a Matroska, has none
        minimum = self._shown + self._step - pts if is_key and pts is not None else None
        if dts is not None:
            self._advance(dts, duration, minimum)
        elif minimum is not None and self.offset < minimum - self._step - self._fall:
            self._jump(minimum)
            self._decoded = self._shown + self._step
        stamp = dts if pts is None else pts
        if stamp is None:
            return None
        if dts is not None and self._leap is not None and abs(stamp - dts) > self._leap:
            # Leap of a frame that is decoded before others and shown after them
            self._early = self._early or stamp - dts - self._reach
            stamp -= self._early
        elif dts is not None:
            self._reach = max(self._reach, stamp - dts)
        stamp += self.offset
        self._shown = max(self._shown, stamp)
        return stamp

    def following(self) -> int:
        """Return the decoding time of a packet without one, in the file's own timestamps."""
        return 0 if self._decoded is None else self._decoded + self._step - self.offset

    def _advance(self, dts: int, duration: int, minimum: int | None) -> None:
        """Advance to a packet; after a jump the offset is at least `minimum`."""
        time = dts + self.offset
        if self._decoded is not None:
            following = self._decoded + self._step
            leaps = self._leap is not None and time - following > self._leap
            if time < self._decoded - self._fall or leaps:
                self._jump(following - dts if minimum is None else max(minimum, following - dts))
                time = dts + self.offset
            elif time > self._decoded and duration <= 0:
                self._step = time - self._decoded
        if duration > 0:
            self._step = duration
        self._decoded = time

    def _jump(self, offset: int) -> None:
        self.offset = offset
        self.jumps += 1
        self._early = 0
