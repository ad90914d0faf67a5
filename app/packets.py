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
from app.sampling import Timing
from app.timestamps import Clock

VideoPacket: TypeAlias = "Packet[VideoStream]"


@dataclass(frozen=True, slots=True)
class PacketList:
    """What was measured: timestamps in units of `base` seconds, on a clock that never jumps back.

    `stamps` has one entry for each frame shown and rises; `keys` holds for each key frame its timestamp, and the
    decoding time by which to seek it. `jumps` says that the file's own timestamps are other ones: then seeking by time
    leads anywhere. `count` includes packets whose frames are not shown, `partial` is the timestamp of a last packet
    that is not whole.
    """

    base: float
    stamps: list[int]
    keys: list[tuple[int, int]]
    end: int
    count: int
    jumps: bool
    partial: int | None

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
    last_is_shown = False
    for packet in container.demux(stream):
        pts, dts, duration = packet.pts, packet.dts, packet.duration or 0
        clock.advance(dts, duration)
        stamp = clock.shown(pts, dts)
        if stamp is None or not (keys or packet.is_keyframe):
            continue  # the end of the file, or a start in the middle of a group of pictures
        count += 1
        if packet.is_keyframe:
            keys.append((stamp, stamp if dts is None else dts))
        last_is_shown = not packet.is_discard
        if last_is_shown:
            shown.append(stamp)
            if len(shown) == 1 or stamp >= last[0]:
                before, last = last, (stamp, duration)
    partial = shown.pop() if cut_off and last_is_shown and len(shown) > 1 else None
    if partial is not None and partial == last[0]:
        last = before
    if not shown:
        raise Undecodable("there is no frame in this video")
    shown.sort()
    return PacketList(base, shown, sorted(keys), sum(last), count, clock.jumps > 0, partial)


def packets_on_clock(container: InputContainer, stream: VideoStream, demuxer: str) -> Iterator[VideoPacket]:
    """Yield all packets from the start of the file, with the timestamps that `list_packets` gives them."""
    clock = Clock(1 / float(stream.time_base or 1), demuxer)
    for packet in container.demux(stream):
        pts, dts = packet.pts, packet.dts
        clock.advance(dts, packet.duration or 0)
        packet.pts = None if pts is None else clock.shown(pts, dts)
        packet.dts = None if dts is None else dts + clock.offset
        yield packet


def stamp_of(item: VideoPacket | VideoFrame) -> int | None:
    """When a packet or frame is shown, else when it is decoded."""
    return item.dts if item.pts is None else item.pts
