"""The one seam to decord and PyAV: opens a video, tells the time of each frame, and hands out chosen frames.

H.264 and HEVC in MP4 and Matroska are read through PyAV, by timestamp, because there frames that nothing refers to
can be left out: 5 to 40 % less time than decord needs for the same frames (docs/decisions/0009-two-readers.md). Other
codecs are decord's where it can be trusted. It counts packets, and not every file has one for each frame shown: decord2
3.4.0 returns other frames than the ones asked for, without an error, for MPEG-TS, MPEG-PS, ASF, AVI with B-frames,
MPEG-2 and MPEG-4 with B-frames in MP4 and Matroska, and MP4 whose edit list cuts into a group of pictures. Those are
PyAV's too.
"""

import os
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, Protocol

import av
import decord
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from app.errors import LimitExceeded, NoVideoStream, Undecodable, UnsupportedMedia
from app.images.animations import ANIMATED, AnimationReader
from app.media.colour import SrgbScaler
from app.media.formats import HEAD_BYTES, SOUND_CODECS, VIDEO_CODECS, ts_start, unsupported_codec
from app.media.frames import Frame
from app.media.geometry import Crop, upright
from app.media.sampling import Timing
from app.media.transparency import alpha_decoder
from app.media.types import Media, Source
from app.video.frame_filter import filtered
from app.video.nal_units import fill, length_bytes
from app.video.packets import VideoPacket, list_packets, packets_on_clock, stamp_of
from app.video.truncation import ending

CHUNK_BYTES = 32 << 20  # decord returns whole batches: this many bytes of scaled frames at a time
NEAR = 8  # frames: to decode on to a key frame so near is quicker than to seek it
SKIPPED_CODECS = ("h264", "hevc")  # FFmpeg's decoders of these leave out what no other frame refers to if told so
SKIPPED_IN = ("mov", "matroska")  # containers that tell of every packet when its frame is shown
# Codecs with frames that refer to later ones are PyAV's, whatever they come in: decord counts them wrongly
_BY_TIME = (*SKIPPED_CODECS, "mpeg1video", "mpeg2video", "mpeg4", "svq3", "vc1", "wmv3")
_INDEXED = ("mov", "matroska", "flv", "gif")  # containers whose packets decord counts rightly

decord.logging.set_level(decord.logging.QUIET)


class Reader(Protocol):
    """An open video; frames are numbered from 0 in the order they are shown."""

    timing: Timing
    missing: int  # frames that an MP4's index names and the file lacks; other containers name none
    cut_off: bool  # the file ends before the end of what it began, and all frames of `timing` are there

    def read(self, numbers: Sequence[int]) -> Iterator[Any]:
        """Yield upright frames of the reader's size, one for each of `numbers`, which must rise.

        Each is a Frame, or what DeviceReader (app/video/gpu_frames.py) has in its place.
        """


@contextmanager
def translated() -> Iterator[None]:
    """Map the libraries' errors to ours; a missing file passes, because that is no fault of the media."""
    try:
        yield
    except FileNotFoundError:
        raise
    except MemoryError as error:
        raise LimitExceeded("decoding this file needs more memory than is allowed") from error
    except av.error.DecoderNotFoundError as error:
        raise UnsupportedMedia("the video uses a codec that is not supported") from error
    except (av.error.FFmpegError, decord.DECORDError, RuntimeError, AssertionError) as error:
        # decord raises RuntimeError for what it cannot open and AssertionError for a video without frames.
        raise Undecodable("the file is damaged and cannot be decoded") from error


def location(source: Source) -> str:
    """What FFmpeg opens for a byte range; a whole file goes by its plain path."""
    path = os.path.abspath(source.path)
    if source.offset == 0 and source.length == os.stat(path).st_size:
        return path
    return f"subfile,,start,{source.offset},end,{source.offset + source.length},,:{path}"


def _readable(source: Source, demuxer: str) -> Source:
    """The part of a file that FFmpeg takes: without odd bytes before an MPEG-TS, or half an index after an MP4."""
    before = after = 0
    if demuxer == "mpegts":
        before = ts_start(source.read(HEAD_BYTES)) or 0
    elif demuxer == "mov":
        after = ending(source, demuxer).useless
    if not before and not after:
        return source
    return Source(source.path, source.offset + before, source.length - before - after)


@contextmanager
def opened(
    source: Source, demuxer: str, hwaccel: HWAccel | None = None, threads: int = 1
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video with PyAV, for so many threads; raises UnsupportedMedia when FFmpeg takes it for another format."""
    source = _readable(source, demuxer)
    options = {"format_whitelist": demuxer, "protocol_whitelist": "file,subfile"}
    try:
        container = av.open(location(source), options=options, metadata_errors="replace", hwaccel=hwaccel)
    except av.error.ArgumentError as error:  # decord guesses as FFmpeg does: it must not open that other format
        raise UnsupportedMedia("the file is not what its first bytes say") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise NoVideoStream("there is no video in this file, only sound or other data: send one with a picture")
        # Without a decoder a stream has no facts either, not even a width
        if stream.codec_context is None or stream.codec.canonical_name not in VIDEO_CODECS:
            raise unsupported_codec(stream.codec_context.codec.name if stream.codec_context else "")
        stream.thread_count, stream.thread_type = threads, "FRAME"
        yield container, stream


def open_reader(source: Source, media: Media, demuxer: str, size: tuple[int, int], threads: int = 1) -> Reader:
    """Open a video for reading some upright frames of `size` (width, height) pixels, by so many threads if by PyAV.

    For reading all of a long one take `open_sequentially`: decord holds the whole file in memory, 0.6 GB for 0.5 GB.
    """
    if demuxer in ANIMATED:
        return AnimationReader(source, media, size)
    if (
        media.codec not in _BY_TIME
        and media.shown_as_stored
        and demuxer in _INDEXED
        and _has_three_channels(size[0])
        and not ending(source, demuxer).cut_off  # its last frame is not whole
        and _for_decord(source, demuxer)
    ):
        # What decord cannot open, a single frame in Matroska for one, PyAV may: if not, its error counts.
        with suppress(decord.DECORDError, RuntimeError, AssertionError):
            promised = media.frames if demuxer == "mov" else None
            reader = DecordReader(location(source), size, promised)
            if reader.has_order():
                return reader
    return PacketReader(source, demuxer, media, size, threads)


def open_sequentially(source: Source, media: Media, demuxer: str, size: tuple[int, int]) -> Reader:
    """Open a video of any length for reading all of it."""
    if demuxer in ANIMATED:
        return AnimationReader(source, media, size)
    return PacketReader(source, demuxer, media, size)


def _has_three_channels(width: int) -> bool:
    """Whether decord hands out frames of this width as they are.

    It takes the number of channels to be the length of a row in memory, which FFmpeg pads to a power of two that
    depends on the processor, divided by the width: 96 pixels in a row of 128 become four channels.
    """
    padded = (-(-width // to) * to for to in (16, 32, 64, 128))
    return all(row == width or 3 * row % width for row in padded)


def _for_decord(source: Source, demuxer: str) -> bool:
    """Whether decord may open this file and counts its frames rightly.

    It brings an older FFmpeg than PyAV's, which opens every stream, wanted or not: no codec may be in the file that is
    not on our lists.
    """
    with opened(source, demuxer) as (container, stream):
        cut_by_edits = demuxer == "mov" and any(entry.is_discard for entry in stream.index_entries)
        return not cut_by_edits and all(_is_known(each) for each in container.streams)


def _is_known(stream: Stream) -> bool:
    if stream.type not in ("video", "audio"):
        return True  # text and data: nothing of ours decodes it
    context = stream.codec_context
    return context is not None and context.codec.canonical_name in VIDEO_CODECS | SOUND_CODECS


class DecordReader:
    """Reads by frame number; scales and turns upright in the decoder's own filter graph."""

    def __init__(self, path: str, size: tuple[int, int], promised: int | None) -> None:
        width, height = size
        self._video = decord.VideoReader(path, width=width, height=height, num_threads=1)
        self._chunk = max(1, CHUNK_BYTES // (width * height * 3))
        spans = self._video.get_frame_timestamp(range(len(self._video))).astype(np.float64)
        times_s = spans[:, 0]
        self.timing = Timing.of(times_s, times_s[self._video.get_key_indices()], float(spans[-1, 1]))
        self.missing, self.cut_off = max(0, (promised or 0) - len(spans)), False

    def has_order(self) -> bool:
        """Whether decord can find frames by these timestamps: they start at 0 and rise.

        Of two frames with the same one it sometimes returns the next frame instead (7 of 100 readings).
        """
        times_s = self.timing.times_s
        return abs(times_s[0]) < 1e-3 and bool(np.all(np.diff(times_s) > 0))

    def read(self, numbers: Sequence[int]) -> Iterator[Frame]:
        for start in range(0, len(numbers), self._chunk):
            yield from self._video.get_batch(numbers[start : start + self._chunk]).asnumpy()


class PacketReader:
    """Reads by timestamp: lists all packets, then decodes on from the key frame before each wanted one.

    Frames on the way that nothing refers to are not decoded: a third of those that x264 makes, and of the time.
    """

    skips = True  # where codec and container allow it
    keeps_open = True  # what was opened for the list until it is read the first time, where it can be sought by time
    _opened_for_list: tuple[InputContainer, VideoStream] | None = None
    _delay: int | None = None  # packets between a frame's own and the one after which it comes out

    def __init__(self, source: Source, demuxer: str, media: Media, size: tuple[int, int], threads: int = 1) -> None:
        self._source, self._demuxer, self._media, self._threads = source, demuxer, media, threads
        self._size = size if media.rotation % 180 == 0 else (size[1], size[0])
        self._scaler = SrgbScaler(self._size)
        self._deinterlaces = media.interlaced
        end = ending(source, demuxer)
        self._held = ExitStack()
        with ExitStack() as held:
            container, stream = held.enter_context(opened(source, demuxer, threads=threads))
            codec, configuration = stream.codec.canonical_name, stream.codec_context.extradata
            self._skips = (
                self.skips
                and demuxer in SKIPPED_IN
                and length_bytes(codec, configuration) > 0
                and not self._deinterlaces  # needs the frames before and after
            )
            self._listed = list_packets(container, stream, demuxer, end.cut_off)
            absent = len(stream.index_entries) - self._listed.count if demuxer == "mov" else 0
            if self.keeps_open and demuxer in SKIPPED_IN and not self._listed.sequential:
                self._opened_for_list, self._held = (container, stream), held.pop_all()
        self.missing = 0 if end.fragmented else absent
        self.cut_off = end.cut_off or (end.fragmented and absent > 0)
        self.timing = self._listed.timing()
        self._stamps, self._keys = self._listed.stamps, self._listed.keys

    def read(self, numbers: Sequence[int]) -> Iterator[Any]:
        wanted = [self._stamps[number] for number in numbers]
        with self._reopened() as (container, stream):
            for place, frame in enumerate(self._chosen(container, stream, wanted)):
                if self._skips and stamp_of(frame) != wanted[place]:
                    break  # a stream that is not as it says: once more, with every frame of it
                if frame.interlaced_frame and not self._deinterlaces:
                    self._deinterlaces = True  # a film that is interlaced from here on
                    break
                yield self._upright(frame)
            else:
                return
        self._skips = False
        yield from self.read(numbers[place:])

    @contextmanager
    def _reopened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """At its first key frame: to open a file costs as much as to decode some frames of it."""
        listed, self._opened_for_list = self._opened_for_list, None
        with self._held.pop_all() as held:
            if listed is None or not self._goes_back(*listed):
                listed = held.enter_context(self._opened())
            yield listed

    def _goes_back(self, container: InputContainer, stream: VideoStream) -> bool:
        """Whether its first key frame could be sought; a file with a damaged index is opened anew."""
        try:
            container.seek(self._keys[0][1], stream=stream)
        except av.error.FFmpegError:
            return False
        return True

    def _opened(self) -> AbstractContextManager[tuple[InputContainer, VideoStream]]:
        """The video, to be decoded; only its packets are asked for elsewhere."""
        return opened(self._source, self._demuxer, threads=self._threads)

    def _upright(self, frame: VideoFrame) -> Any:
        """A decoded frame as `read` yields it."""
        return upright(self._scaler.scale(frame), self._media.rotation, self._media.mirrored)

    def _chosen(self, container: InputContainer, stream: VideoStream, wanted: list[int]) -> Iterator[VideoFrame]:
        """For each of `wanted` the first frame at or after it; the file's last one where none is left."""
        needed, packets = frozenset(wanted), self._packets(container, stream)
        frames, frame, reached = self._shown(stream, packets, self._keys[0], needed), None, -sys.maxsize
        if self._listed.order:  # how far behind its packets the decoder is
            frame = next(frames, None)
            reached = -sys.maxsize if frame is None else self._stamps[0]
        for stamp in wanted:
            # In `order` a key frame may be shown after frames that follow it: from the one before all are there
            before = bisect_right(self._keys, (stamp, sys.maxsize)) - (2 if self._listed.order else 1)
            key = self._keys[max(0, before)]
            if self._position(key[0]) > self._position(reached) + NEAR and key[0] > self._keys[0][0]:
                if self._listed.sequential:  # no time leads there: read on, without decoding
                    stream.codec_context.flush_buffers()
                else:
                    container.seek(key[1], stream=stream)
                    packets = self._packets(container, stream)
                frames = self._shown(stream, packets, key, needed)
            while reached < stamp and (following := next(frames, None)):
                stamp_met = stamp_of(following)
                frame, reached = following, reached if stamp_met is None else stamp_met
            if frame is None:
                raise Undecodable("no frame of this video can be decoded")
            yield frame

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket]:
        """The packets from where the container stands, with the timestamps of the list."""
        if self._listed.sequential:
            return packets_on_clock(container, stream, self._demuxer)
        return container.demux(stream)

    def _position(self, stamp: int) -> int:
        return bisect_left(self._stamps, stamp)

    def _shown(
        self, stream: VideoStream, packets: Iterator[VideoPacket], key: tuple[int, int], needed: frozenset[int]
    ) -> Iterator[VideoFrame]:
        """As `_decoded`, without fields and without the edges that the container hides."""
        frames = self._decoded(stream, packets, key, needed)
        if self._listed.order:
            frames = self._in_order(frames, self._listed.order)
        crop = Crop(*self._media.crop)
        return filtered(frames, self._deinterlaces, crop) if self._deinterlaces or any(crop) else frames

    def _in_order(self, frames: Iterator[VideoFrame], order: list[int]) -> Iterator[VideoFrame]:
        """Frames with the times at which they are shown: they come out in that order, some packets later."""
        number = -1
        for frame in frames:
            position = None if frame.dts is None else bisect_left(order, frame.dts)
            if self._delay is None:
                self._delay = position or 0
            number = number + 1 if position is None else position - self._delay
            frame.pts = self._stamps[min(max(0, number), len(self._stamps) - 1)]
            yield frame

    def _decoded(
        self, stream: VideoStream, packets: Iterator[VideoPacket], key: tuple[int, int], needed: frozenset[int]
    ) -> Iterator[VideoFrame]:
        """Frames from the packet `key` on: started elsewhere, a decoder shows garbage, or nothing at all.

        Those of `needed` are among them; of the others, those that nothing refers to may not be.
        """
        met, lengths = False, length_bytes(stream.codec.canonical_name, stream.codec_context.extradata)
        decoder = alpha_decoder(stream) or stream.codec_context
        for packet in packets:
            stamp = stamp_of(packet)
            met = met or (packet.is_keyframe and stamp == key[0])
            if not met or (stamp is not None and stamp == self._listed.partial):
                continue
            if self._skips:
                # What is damaged is not left out: FFmpeg is to say that it is
                whole = fill(memoryview(packet), lengths)
                stream.codec_context.skip_frame = "NONREF" if whole and stamp not in needed else "DEFAULT"
            yield from decoder.decode(packet)
        if not met:  # this container cannot be sought by time
            with self._opened() as (again, same):
                for packet in self._packets(again, same):
                    yield from packet.decode()
