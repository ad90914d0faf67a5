"""List the packets of a video stream without decoding: when each frame is shown, and where decoding can begin."""

from __future__ import annotations

from collections.abc import Iterator
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

DECODING_TIMES = ("avi", "asf", "mpeg")  # containers that tell when packets are decoded; not always more


@dataclass(frozen=True, slots=True)
class PacketList:
    """What was measured: timestamps in units of `base` seconds, on a clock that never jumps back.

    Attributes:
        stamps: when each frame is shown, rising.
        keys: for each key frame its timestamp, and the decoding time by which to seek it.
        end: when the last frame disappears.
        count: packets, also those whose frames are not shown.
        sequential: the file's own timestamps are other ones or missing, so that seeking by time leads anywhere.
        partial: the timestamp of a last packet that is not whole.
        order: the decoding time of each frame where timestamps rise in decoding order although the decoder reorders
            frames (H.264 in AVI, packed frames of Xvid): then the n-th frame that comes out is shown n-th.
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
        first = self.stamps[0]
        times_s = (np.array(self.stamps, np.float64) - first) * self.base
        keys_s = (np.array([stamp for stamp, _ in self.keys if stamp >= first], np.float64) - first) * self.base
        return Timing.of(times_s, keys_s, (self.end - first) * self.base)


def list_packets(container: InputContainer, stream: VideoStream, demuxer: str, cut_off: bool) -> PacketList:
    """Read all packets of a stream; the last one of a file that was `cut_off` is not whole and is left out.

    Raises Undecodable where no frame is shown.
    """
    base = float(stream.time_base or 1)
    clock = Clock(1 / base, demuxer)
    shown: list[int] = []
    before = last = (0, 0)  # the timestamp and duration of the frame shown last
    keys: list[tuple[int, int]] = []
    count = 0
    last_is_shown, order = False, list[int]()
    keeps_order = demuxer in DECODING_TIMES and stream.codec_context.has_b_frames
    untimed = _is_untimed(stream, demuxer)
    pairs = FieldPairs(stream.codec.canonical_name, stream.codec_context.extradata)
    for packet in container.demux(stream):
        duration = packet.duration or 0
        pts, dts = _decoding_times(packet, clock) if untimed else (packet.pts, packet.dts)
        stamp = clock.stamp(pts, dts, duration, packet.is_keyframe)
        is_second = pairs.are_possible and pairs.is_second(memoryview(packet))
        if is_second:  # it belongs to the frame before it
            count += 1
            begin = sum(last) if stamp is None else stamp
            last = (last[0], max(last[1], begin + duration - last[0]))
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
            shown.append(stamp)
            if len(shown) == 1 or stamp >= last[0]:
                before, last = last, (stamp, duration)
    partial = shown.pop() if cut_off and last_is_shown and len(shown) > 1 else None
    if partial is not None and partial == last[0]:
        last = before
    if not shown:
        raise Undecodable("there is no frame in this video")
    turned = keeps_order and len(order) >= len(shown) and all(map(int.__lt__, shown, shown[1:]))
    shown.sort()
    return PacketList(
        base, shown, sorted(keys), sum(last), count, untimed or clock.jumps > 0, partial, order if turned else []
    )


def packets_on_clock(container: InputContainer, stream: VideoStream, demuxer: str) -> Iterator[VideoPacket]:
    """Yield all packets from the start of the file, with the timestamps that `list_packets` gives them."""
    clock = Clock(1 / float(stream.time_base or 1), demuxer)
    untimed = _is_untimed(stream, demuxer)
    for packet in container.demux(stream):
        pts, dts = _decoding_times(packet, clock) if untimed else (packet.pts, packet.dts)
        stamp = clock.stamp(pts, dts, packet.duration or 0, packet.is_keyframe)
        packet.pts = None if pts is None else stamp
        packet.dts = None if dts is None else dts + clock.offset
        yield packet


def _is_untimed(stream: VideoStream, demuxer: str) -> bool:
    """Whether not every packet has a timestamp: H.264 and HEVC in MPEG-PS."""
    return demuxer == "mpeg" and stream.codec.canonical_name in ("h264", "hevc")


def _decoding_times(packet: VideoPacket, clock: Clock) -> tuple[int | None, int | None]:
    """The decoding time twice, as the packet has it or as the clock goes on; None at the end of the file."""
    dts = clock.following() if packet.dts is None and packet.size else packet.dts
    return dts, dts


def stamp_of(item: VideoPacket | VideoFrame) -> int | None:
    """When a packet or frame is shown, else when it is decoded."""
    return item.dts if item.pts is None else item.pts
