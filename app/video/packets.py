"""Packet list of a video stream, without decoding: display times of the frames, and where decoding can start.

`Clock` converts a file's timestamps to one clock that never jumps back. The client has the same class
(client/clipstack_client/reduction/clock.py), and one test checks both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from app.errors import Undecodable
from app.media.sampling import Timing
from app.video.nal_units import FieldPairs, is_idr, length_bytes

VideoPacket: TypeAlias = "Packet[VideoStream]"

DECODING_TIMES = ("avi", "asf", "mpeg")  # containers with decoding times, and often without display times
# Rules of FFmpeg's own program (fftools/ffmpeg_demux.c, ts_discontinuity_detect): falling timestamps mean a restart,
# and in broadcast formats a leap forward is not a pause either.
FALL_S = 0.1
LEAP_S = 10.0
BROADCAST = frozenset({"mpegts", "mpeg", "ogg"})  # FFmpeg's demuxers with AVFMT_TS_DISCONT


def demux(container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket]:
    """Yield the packets of `stream`, from the container's position on.

    PyAV's own `demux` raises IndexError at the first packet of another stream that begins later (MPEG-TS, FLV).
    """
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:
            continue


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


@dataclass(frozen=True, slots=True)
class PacketList:
    """Measurements of a stream: timestamps in units of `base` seconds, on a clock that never jumps back.

    Attributes:
        stamps: Display time of each frame, rising.
        keys: For each key frame its timestamp, and the decoding time with which to seek it.
        end: Time at which the last frame disappears.
        count: Number of packets, including those whose frames are not shown.
        sequential: The file's own timestamps differ or are missing, so that seeking by time does not work.
        partial: Timestamp of an incomplete last packet, or None.
        order: Decoding time of each frame if timestamps rise in decoding order although the decoder reorders frames
            (H.264 in AVI, packed frames of Xvid): the n-th frame that the decoder returns is then shown n-th.
        restarts: Timestamps of the key frames at which decoding restarts, rising: no frame after one of them refers
            to a frame before it.
    """

    base: float
    stamps: list[int]
    keys: list[tuple[int, int]]
    end: int
    count: int
    sequential: bool
    partial: int | None
    order: list[int]
    restarts: list[int]

    def timing(self) -> Timing:
        """Return the timing in seconds after the first frame."""
        first = self.stamps[0]
        times_s = (np.array(self.stamps, np.float64) - first) * self.base
        keys_s = (np.array([stamp for stamp, _ in self.keys if stamp >= first], np.float64) - first) * self.base
        return Timing.of(times_s, keys_s, (self.end - first) * self.base)


def list_packets(packets: Iterable[VideoPacket], stream: VideoStream, demuxer: str, cut_off: bool) -> PacketList:
    """Read all packets of a stream, without the incomplete last one of a file that is `cut_off`; raise Undecodable."""
    base = float(stream.time_base or 1)
    clock = Clock(1 / base, demuxer)
    stamps: list[int] = []
    previous = last = (0, 0)  # timestamp and duration of the last two frames in display order
    keys: list[tuple[int, int]] = []
    restarts: list[int] = []
    count = 0
    last_is_shown, order = False, list[int]()
    keeps_order = demuxer in DECODING_TIMES and stream.codec_context.has_b_frames
    untimed = _is_untimed(stream, demuxer)
    pairs = FieldPairs(stream.codec.canonical_name, stream.codec_context.extradata)
    for packet in packets:
        duration = packet.duration or 0
        pts, dts = _decoding_times(packet, clock) if untimed else (packet.pts, packet.dts)
        stamp = clock.stamp(pts, dts, duration, packet.is_keyframe)
        is_second = pairs.are_possible and pairs.is_second(memoryview(packet))
        if is_second:  # it belongs to the previous frame
            count += 1
            start = sum(last) if stamp is None else stamp
            last = (last[0], max(last[1], start + duration - last[0]))
            continue
        if stamp is None or not (keys or packet.is_keyframe):
            continue  # the end of the file, or a start in the middle of a group of pictures
        count += 1
        if packet.is_keyframe:
            keys.append((stamp, stamp if dts is None else dts))
            if _restarts_decoding(stream, memoryview(packet), pairs):
                restarts.append(stamp)
        last_is_shown = not packet.is_discard
        if last_is_shown:
            if keeps_order and dts is not None:
                order.append(dts + clock.offset)
            stamps.append(stamp)
            if len(stamps) == 1 or stamp >= last[0]:
                previous, last = last, (stamp, duration)
    partial = stamps.pop() if cut_off and last_is_shown and len(stamps) > 1 else None
    if partial is not None and partial == last[0]:
        last = previous
    if not stamps:
        raise Undecodable("there is no frame in this video")
    is_reordered = keeps_order and len(order) >= len(stamps) and all(map(int.__lt__, stamps, stamps[1:]))
    stamps.sort()
    sequential, order = untimed or clock.jumps > 0, order if is_reordered else []
    return PacketList(base, stamps, sorted(keys), sum(last), count, sequential, partial, order, sorted(restarts))


def packets_on_clock(container: InputContainer, stream: VideoStream, demuxer: str) -> Iterator[VideoPacket]:
    """Yield all packets from the start of the file, with the timestamps that `list_packets` assigns."""
    clock = Clock(1 / float(stream.time_base or 1), demuxer)
    untimed = _is_untimed(stream, demuxer)
    for packet in demux(container, stream):
        pts, dts = _decoding_times(packet, clock) if untimed else (packet.pts, packet.dts)
        stamp = clock.stamp(pts, dts, packet.duration or 0, packet.is_keyframe)
        packet.pts = None if pts is None else stamp
        packet.dts = None if dts is None else dts + clock.offset
        yield packet


def _restarts_decoding(stream: VideoStream, packet: memoryview, pairs: FieldPairs) -> bool:
    """Return whether no frame after this key frame refers to one before it; False if frames may have two packets."""
    codec = stream.codec.canonical_name
    lengths = 0 if pairs.are_possible else length_bytes(codec, stream.codec_context.extradata)
    return stream.codec.intra_only or (lengths > 0 and is_idr(codec, packet, lengths))


def _is_untimed(stream: VideoStream, demuxer: str) -> bool:
    """Return whether packets may lack a timestamp: H.264 and HEVC in MPEG-PS."""
    return demuxer == "mpeg" and stream.codec.canonical_name in ("h264", "hevc")


def _decoding_times(packet: VideoPacket, clock: Clock) -> tuple[int | None, int | None]:
    """Return the decoding time twice, from the packet or continued by the clock; None at the end of the file."""
    dts = clock.following() if packet.dts is None and packet.size else packet.dts
    return dts, dts


def stamp_of(item: VideoPacket | VideoFrame) -> int | None:
    """Return the display time of a packet or frame, or else its decoding time."""
    return item.dts if item.pts is None else item.pts
