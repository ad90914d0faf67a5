"""Monotonic clock over a file's timestamps, by the service's rules; one test checks both."""

FALL_S = 0.1  # timestamps that fall by more than this have restarted
LEAP_S = 10.0  # in broadcast formats, a larger leap forward is a restart, not a pause
BROADCAST = frozenset({"mpegts", "mpeg", "ogg"})


class Clock:
    """Presentation times of a stream's packets, in file order, on one clock.

    Two recordings joined to one file:

        decoding times   0 1 2 3 0 1 2 3
        offset           0 0 0 0 4 4 4 4

    `ticks` of a timestamp make a second; `demuxer` is FFmpeg's name of the format.

    Attributes:
        offset: What was added to the timestamps of the last packet.
        jumps: How often that changed.
    """

    def __init__(self, ticks: float, demuxer: str) -> None:
        self._fall = round(FALL_S * ticks)
        self._leap = round(LEAP_S * ticks) if demuxer in BROADCAST else None
        self._decoded: int | None = None  # last decoding time
        self._shown = 0  # latest presentation time
        self._step = 0  # from one packet to the next
        self._early = 0  # a leap that decoding times have not made yet
        self._reach = 0  # largest delay from decoding a frame to showing it
        self.offset = 0
        self.jumps = 0

    def stamp(self, pts: int | None, dts: int | None, duration: int, is_key: bool) -> int | None:
        """Take the next packet and return its presentation time, or None for a packet without a time."""
        if pts is not None and dts is not None and pts < dts - self._fall:
            dts = None  # from the recording before: FFmpeg guesses it where the file (for example Matroska) has none
        least = self._shown + self._step - pts if is_key and pts is not None else None
        if dts is not None:
            self._advance(dts, duration, least)
        elif least is not None and self.offset < least - self._step - self._fall:
            self._jump(least)
            self._decoded = self._shown + self._step
        stamp = dts if pts is None else pts
        if stamp is None:
            return None
        if dts is not None and self._leap is not None and abs(stamp - dts) > self._leap:
            # A frame that is decoded before others and shown after them makes the leap first
            self._early = self._early or stamp - dts - self._reach
            stamp -= self._early
        elif dts is not None:
            self._reach = max(self._reach, stamp - dts)
        stamp += self.offset
        self._shown = max(self._shown, stamp)
        return stamp

    def _advance(self, dts: int, duration: int, least: int | None) -> None:
        """Advance to a packet; after a jump the offset is at least `least`."""
        time = dts + self.offset
        if self._decoded is not None:
            following = self._decoded + self._step
            leaps = self._leap is not None and time - following > self._leap
            if time < self._decoded - self._fall or leaps:
                self._jump(following - dts if least is None else max(least, following - dts))
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
