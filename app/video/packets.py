"""Packet list of a video stream, without decoding: display times of the frames, and where decoding can start."""

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
from app.video.field_pairs import FieldPairs
from app.video.timestamps import Clock

VideoPacket: TypeAlias = "Packet[VideoStream]"

DECODING_TIMES = ("avi", "asf", "mpeg")  # containers with decoding times, and often without display times


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
    """

    base: float
    stamps: list[int]
    keys: list[tuple[int, int]]
    end: int
    count: int
    sequential: bool
    partial: int | None
    order: list[int]

    def timing(self) -> Timing:
        """Return the timing in seconds after the first frame."""
        first = self.stamps[0]
        times_s = (np.array(self.stamps, np.float64) - first) * self.base
        keys_s = (np.array([stamp for stamp, _ in self.keys if stamp >= first], np.float64) - first) * self.base
        return Timing.of(times_s, keys_s, (self.end - first) * self.base)


def list_packets(packets: Iterable[VideoPacket], stream: VideoStream, demuxer: str, cut_off: bool) -> PacketList:
    """Read all packets of a stream; omit the last one, which is incomplete, if the file is `cut_off`.

    Raises:
        Undecodable: No frame is shown.
    """
    base = float(stream.time_base or 1)
    clock = Clock(1 / base, demuxer)
    stamps: list[int] = []
    previous = last = (0, 0)  # timestamp and duration of the last two frames in display order
    keys: list[tuple[int, int]] = []
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
    return PacketList(
        base, stamps, sorted(keys), sum(last), count, untimed or clock.jumps > 0, partial, order if is_reordered else []
    )


def packets_on_clock(container: InputContainer, stream: VideoStream, demuxer: str) -> Iterator[VideoPacket]:
    """Yield all packets from the start of the file, with the timestamps that `list_packets` assigns."""
    clock = Clock(1 / float(stream.time_base or 1), demuxer)
    untimed = _is_untimed(stream, demuxer)
    for packet in container.demux(stream):
        pts, dts = _decoding_times(packet, clock) if untimed else (packet.pts, packet.dts)
        stamp = clock.stamp(pts, dts, packet.duration or 0, packet.is_keyframe)
        packet.pts = None if pts is None else stamp
        packet.dts = None if dts is None else dts + clock.offset
        yield packet


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
