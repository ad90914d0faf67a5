"""Reader on PyAV: finds frames by timestamp in a list of all packets."""

import sys
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain
from typing import Any

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from app.errors import Undecodable
from app.media.colour import SrgbScaler
from app.media.geometry import Crop, upright
from app.media.transparency import alpha_decoder
from app.media.types import Media, Source
from app.video.container import open_container
from app.video.frame_filter import filter_frames
from app.video.nal_units import fills_packet, length_bytes
from app.video.needed_packets import NeededPackets
from app.video.packets import VideoPacket, demux, list_packets, packets_on_clock, stamp_of
from app.video.probe import DEFAULTS, SEEKABLE, Resources, threads_for
from app.video.truncation import find_ending

NEAR_FRAMES = 8  # frames: decoding on to a key frame this close is faster than seeking it
SCALED_AHEAD = 2  # frames that wait for the scaler's thread
SKIPPED_CODECS = ("h264", "hevc")  # FFmpeg's decoders of these can skip frames that no other frame refers to


class PacketReader:
    """Reader by timestamp: lists all packets, then decodes from the key frame before each requested frame.

    Packets that no requested frame depends on are not decoded (NeededPackets). Frames on the way that no other frame
    refers to are skipped too: a third of those that x264 makes, and of the time. With more than one thread, one scales
    a frame while the next is decoded.
    """

    skips = True  # if codec and container allow it
    reuses_container = True  # reuse the container of the list for the first read, if seeking by time works
    _list_container: tuple[InputContainer, VideoStream] | None = None
    _delay: int | None = None  # packets from a frame's own to the one after which the decoder returns it

    def __init__(
        self, source: Source, demuxer: str, media: Media, size: tuple[int, int], resources: Resources = DEFAULTS
    ) -> None:
        video = resources.video
        self._source, self._demuxer, self._media = source, demuxer, media
        self._threads = threads = threads_for(media.width, media.height, resources.threads)
        self._scales_aside = resources.threads > 1
        self._size = size if media.rotation % 180 == 0 else (size[1], size[0])
        self._scaler = SrgbScaler(self._size)
        self._deinterlaces = media.interlaced
        self._end = end = video.end if video else find_ending(source, demuxer)
        packets: Sequence[VideoPacket] = ()
        self._resources = ExitStack()
        with ExitStack() as stack:
            if video is not None and video.is_listable:
                container, stream, packets = video.container, video.stream, video.packets
            else:
                container, stream = stack.enter_context(open_container(source, demuxer, threads=threads, end=end))
            self._lengths = length_bytes(stream.codec.canonical_name, stream.codec_context.extradata)
            can_skip = stream.codec.intra_only or (demuxer in SEEKABLE and self._lengths > 0)
            # Deinterlacing needs the frames before and after
            self._skips = self.skips and can_skip and not self._deinterlaces
            self._list = list_packets(chain(packets, demux(container, stream)), stream, demuxer, end.cut_off)
            missing = len(stream.index_entries) - self._list.count if demuxer == "mov" else 0
            if self.reuses_container and demuxer in SEEKABLE and not self._list.sequential:
                self._list_container, self._resources = (container, stream), stack.pop_all()
        self.missing = 0 if end.fragmented else missing
        self.cut_off = end.cut_off or (end.fragmented and missing > 0)
        self.timing = self._list.timing()
        self._stamps, self._keys = self._list.stamps, self._list.keys

    def read(self, numbers: Sequence[int]) -> Iterator[Any]:
        """Yield the frames; see `Reader.read`."""
        frames = self._frames(numbers)
        if not self._scales_aside:
            yield from map(self._to_pixels, frames)
            return
        scaled: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(1) as scaler:
            for frame in frames:
                scaled.append(scaler.submit(self._to_pixels, frame))
                if len(scaled) > SCALED_AHEAD:
                    yield scaled.popleft().result()
            while scaled:
                yield scaled.popleft().result()

    def _frames(self, numbers: Sequence[int]) -> Iterator[VideoFrame]:
        """Yield the frames as they were decoded."""
        stamps = [self._stamps[number] for number in numbers]
        self._needed = NeededPackets(stamps, self._list.restarts)
        with self._reopen() as (container, stream):
            for index, frame in enumerate(self._select(container, stream, stamps)):
                if self._skips and stamp_of(frame) != stamps[index]:
                    break  # the stream contradicts its headers: repeat with every frame decoded
                if frame.interlaced_frame and not self._deinterlaces:
                    self._deinterlaces = True  # interlaced from here on
                    break
                yield frame
            else:
                return
        self._skips = False
        yield from self._frames(numbers[index:])

    @contextmanager
    def _reopen(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """Yield the container at its first key frame. Reuse the one opened for the list: opening is expensive."""
        entry, self._list_container = self._list_container, None
        with self._resources.pop_all() as resources:
            if entry is None or not self._rewind(*entry):
                entry = resources.enter_context(self._open())
            yield entry

    def _rewind(self, container: InputContainer, stream: VideoStream) -> bool:
        """Seek to the first key frame; return False if the index is damaged and the file must be reopened."""
        try:
            container.seek(self._keys[0][1], stream=stream)
        except av.error.FFmpegError:
            return False
        return True

    def _open(self) -> AbstractContextManager[tuple[InputContainer, VideoStream]]:
        return open_container(self._source, self._demuxer, threads=self._threads, end=self._end)

    def _to_pixels(self, frame: VideoFrame) -> Any:
        return upright(self._scaler.scale(frame), self._media.rotation, self._media.mirrored)

    def _select(self, container: InputContainer, stream: VideoStream, stamps: list[int]) -> Iterator[VideoFrame]:
        """Yield for each of `stamps` the first frame at or after it, or else the file's last frame."""
        packets = self._packets(container, stream)
        frames, frame, last_stamp = self._display(stream, packets, self._keys[0]), None, -sys.maxsize
        if self._list.order:  # find how far the decoder lags behind its packets
            frame = next(frames, None)
            last_stamp = -sys.maxsize if frame is None else self._stamps[0]
        for stamp in stamps:
            # In `order` a key frame may be shown after frames that follow it, so start at the key frame before it
            before = bisect_right(self._keys, (stamp, sys.maxsize)) - (2 if self._list.order else 1)
            key = self._keys[max(0, before)]
            if self._frame_number(key[0]) > self._frame_number(last_stamp) + NEAR_FRAMES and key[0] > self._keys[0][0]:
                if self._list.sequential:  # seeking by time is impossible: continue reading, without decoding
                    stream.codec_context.flush_buffers()
                else:
                    container.seek(key[1], stream=stream)
                    packets = self._packets(container, stream)
                frames = self._display(stream, packets, key)
            while last_stamp < stamp and (following := next(frames, None)):
                following_stamp = stamp_of(following)
                frame, last_stamp = following, last_stamp if following_stamp is None else following_stamp
            if frame is None:
                raise Undecodable("no frame of this video can be decoded")
            yield frame

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket]:
        """Yield the packets from the container's position, with the list's timestamps."""
        if self._list.sequential:
            return packets_on_clock(container, stream, self._demuxer)
        return demux(container, stream)

    def _frame_number(self, stamp: int) -> int:
        return bisect_left(self._stamps, stamp)

    def _display(
        self, stream: VideoStream, packets: Iterator[VideoPacket], key: tuple[int, int]
    ) -> Iterator[VideoFrame]:
        """Yield the frames of `_decode`, deinterlaced and without the edges that the container hides."""
        frames = self._decode(stream, packets, key)
        if self._list.order:
            frames = self._assign_times(frames, self._list.order)
        crop = Crop(*self._media.crop)
        return filter_frames(frames, self._deinterlaces, crop) if self._deinterlaces or any(crop) else frames

    def _assign_times(self, frames: Iterator[VideoFrame], order: list[int]) -> Iterator[VideoFrame]:
        """Yield frames with display times, assigned in the order in which the decoder returns them."""
        number = -1
        for frame in frames:
            position = None if frame.dts is None else bisect_left(order, frame.dts)
            if self._delay is None:
                self._delay = position or 0
            number = number + 1 if position is None else position - self._delay
            frame.pts = self._stamps[min(max(0, number), len(self._stamps) - 1)]
            yield frame

    def _decode(
        self, stream: VideoStream, packets: Iterator[VideoPacket], key: tuple[int, int]
    ) -> Iterator[VideoFrame]:
        """Yield frames from the packet `key`: all requested ones, and those that they refer to."""
        has_started = False
        decoder = alpha_decoder(stream) or stream.codec_context
        for packet in packets:
            stamp = stamp_of(packet)
            has_started = has_started or (packet.is_keyframe and stamp == key[0])
            if not has_started or (stamp is not None and stamp == self._list.partial):
                continue
            if not self._skips:
                yield from decoder.decode(packet)
                continue
            if self._needed.must_decode(stamp):
                yield from self._decode_needed(stream.codec_context, packet, stamp)
            if self._needed.are_complete:  # the decoder need not wait for more packets
                yield from stream.codec_context.decode(None)
                return
        if not has_started:  # this container cannot be sought by time
            with self._open() as (container, stream):
                decoder = alpha_decoder(stream) or stream.codec_context
                for packet in self._packets(container, stream):
                    yield from decoder.decode(packet)

    def _decode_needed(self, decoder: VideoCodecContext, packet: VideoPacket, stamp: int | None) -> list[VideoFrame]:
        """Decode a packet; if its frame is not needed itself, only if another frame refers to it."""
        lengths = self._lengths
        # Damaged packets are decoded too, so that FFmpeg reports them
        is_passed = lengths > 0 and not self._needed.must_show(stamp) and fills_packet(memoryview(packet), lengths)
        decoder.skip_frame = "NONREF" if is_passed else "DEFAULT"
        self._needed.sent(stamp)
        return decoder.decode(packet)
