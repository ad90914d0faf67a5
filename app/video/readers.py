"""Video readers on decord and PyAV: they open a video, report the time of each frame, and return chosen frames.

No other module uses decord. H.264 and HEVC in MP4 and Matroska are read with PyAV, by timestamp, because frames that no
other frame refers to can then be skipped: 5 to 40 % faster than decord for the same frames
(docs/decisions/0009-two-readers.md). decord reads other codecs where it is reliable. It counts packets, and not every
file has one for each frame shown: decord2 3.4.0 silently returns wrong frames for MPEG-TS, MPEG-PS, ASF, AVI with
B-frames, MPEG-2 and MPEG-4 with B-frames in MP4 and Matroska, and MP4 whose edit list cuts into a group of pictures.
PyAV reads those too.
"""

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
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

CHUNK_BYTES = 32 << 20  # of scaled frames per batch: decord returns whole batches
NEAR = 8  # frames: decoding on to a key frame this close is faster than seeking it
SKIPPED_CODECS = ("h264", "hevc")  # FFmpeg's decoders of these can skip frames that no other frame refers to
SKIPPED_IN = ("mov", "matroska")  # containers with a display time for every packet
# PyAV reads these in every container: decord miscounts codecs with frames that refer to later ones
_BY_TIME = (*SKIPPED_CODECS, "mpeg1video", "mpeg2video", "mpeg4", "svq3", "vc1", "wmv3")
_INDEXED = ("mov", "matroska", "flv", "gif")  # containers whose packets decord counts correctly

decord.logging.set_level(decord.logging.QUIET)


class Reader(Protocol):
    """Interface of an open video; frames are numbered from 0 in display order."""

    timing: Timing
    missing: int  # frames that an MP4's index lists and the file lacks; 0 for other containers
    cut_off: bool  # the file is truncated, and all frames of `timing` are present

    def read(self, numbers: Sequence[int]) -> Iterator[Any]:
        """Yield upright frames of the reader's size, one for each of `numbers`, which must rise.

        Each is a Frame, or a tensor from DeviceReader (app/video/gpu_frames.py).
        """


@contextmanager
def translated() -> Iterator[None]:
    """Map the libraries' errors to ours; FileNotFoundError passes, because it is not the media's fault."""
    try:
        yield
    except FileNotFoundError:
        raise
    except MemoryError as error:
        raise LimitExceeded("decoding this file needs more memory than is allowed") from error
    except av.error.DecoderNotFoundError as error:
        raise UnsupportedMedia("the video uses a codec that is not supported") from error
    except (av.error.FFmpegError, decord.DECORDError, RuntimeError, AssertionError) as error:
        # decord raises RuntimeError for what it cannot open and AssertionError for a video without frames
        raise Undecodable("the file is damaged and cannot be decoded") from error


def location(source: Source) -> str:
    """Return the name under which FFmpeg opens a byte range; a whole file keeps its plain path."""
    path = Path(source.path).absolute()
    if source.offset == 0 and source.length == path.stat().st_size:
        return str(path)
    return f"subfile,,start,{source.offset},end,{source.offset + source.length},,:{path}"


def _readable(source: Source, demuxer: str) -> Source:
    """Return the part of a file that FFmpeg accepts: no bytes before an MPEG-TS, no partial index after an MP4."""
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
    """Open a video with PyAV, decoding with `threads` threads.

    Raises:
        UnsupportedMedia: FFmpeg detects another format, or the codec is not allowed.
        NoVideoStream: The file has no video.
    """
    source = _readable(source, demuxer)
    options = {"format_whitelist": demuxer, "protocol_whitelist": "file,subfile"}
    try:
        container = av.open(location(source), options=options, metadata_errors="replace", hwaccel=hwaccel)
    except av.error.ArgumentError as error:  # decord guesses formats as FFmpeg does, and must not open the other format
        raise UnsupportedMedia("the file is not what its first bytes say") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise NoVideoStream("there is no video in this file, only sound or other data: send one with a picture")
        # Without a decoder a stream has no properties, not even a width
        if stream.codec_context is None or stream.codec.canonical_name not in VIDEO_CODECS:
            raise unsupported_codec(stream.codec_context.codec.name if stream.codec_context else "")
        stream.thread_count, stream.thread_type = threads, "FRAME"
        yield container, stream


def open_reader(source: Source, media: Media, demuxer: str, size: tuple[int, int], threads: int = 1) -> Reader:
    """Open a video for reading some upright frames of `size` (width, height) pixels.

    PyAV decodes with `threads` threads. Use `open_sequentially` to read all of a long video: decord holds the whole
    file in memory, 0.6 GB for 0.5 GB.
    """
    if demuxer in ANIMATED:
        return AnimationReader(source, media, size)
    if (
        media.codec not in _BY_TIME
        and media.shown_as_stored
        and demuxer in _INDEXED
        and _has_three_channels(size[0])
        and not ending(source, demuxer).cut_off  # its last frame is incomplete
        and _for_decord(source, demuxer)
    ):
        # PyAV may open what decord cannot, for example a single frame in Matroska; otherwise PyAV's error counts
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
    """Return whether decord returns intact frames of this width.

    It computes the number of channels as the length of a row in memory divided by the width. FFmpeg pads rows to a
    power of two that depends on the processor: 96 pixels in a row of 128 become four channels.
    """
    padded = (-(-width // to) * to for to in (16, 32, 64, 128))
    return all(row == width or 3 * row % width for row in padded)


def _for_decord(source: Source, demuxer: str) -> bool:
    """Return whether decord may open this file and counts its frames correctly.

    decord bundles an older FFmpeg than PyAV's, which opens every stream, used or not, so all codecs in the file must be
    on our lists.
    """
    with opened(source, demuxer) as (container, stream):
        cut_by_edits = demuxer == "mov" and any(entry.is_discard for entry in stream.index_entries)
        return not cut_by_edits and all(_is_known(other) for other in container.streams)


def _is_known(stream: Stream) -> bool:
    if stream.type not in ("video", "audio"):
        return True  # text and data: never decoded
    context = stream.codec_context
    return context is not None and context.codec.canonical_name in VIDEO_CODECS | SOUND_CODECS


class DecordReader:
    """Reader by frame number; scales and rotates in the decoder's own filter graph."""

    def __init__(self, path: str, size: tuple[int, int], promised: int | None) -> None:
        width, height = size
        self._video = decord.VideoReader(path, width=width, height=height, num_threads=1)
        self._chunk = max(1, CHUNK_BYTES // (width * height * 3))
        spans = self._video.get_frame_timestamp(range(len(self._video))).astype(np.float64)
        times_s = spans[:, 0]
        self.timing = Timing.of(times_s, times_s[self._video.get_key_indices()], float(spans[-1, 1]))
        self.missing, self.cut_off = max(0, (promised or 0) - len(spans)), False

    def has_order(self) -> bool:
        """Return whether decord can find frames by these timestamps: they must start at 0 and rise.

        With equal timestamps it sometimes returns the next frame instead (7 of 100 readings).
        """
        times_s = self.timing.times_s
        return abs(times_s[0]) < 1e-3 and bool(np.all(np.diff(times_s) > 0))

    def read(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Yield the frames; see `Reader.read`."""
        for start in range(0, len(numbers), self._chunk):
            yield from self._video.get_batch(numbers[start : start + self._chunk]).asnumpy()


class PacketReader:
    """Reader by timestamp: lists all packets, then decodes from the key frame before each requested frame.

    Frames on the way that no other frame refers to are skipped: a third of those that x264 makes, and of the time.
    """

    skips = True  # if codec and container allow it
    keeps_open = True  # reuse the container of the list for the first read, if seeking by time works
    _opened_for_list: tuple[InputContainer, VideoStream] | None = None
    _delay: int | None = None  # packets from a frame's own to the one after which the decoder returns it

    def __init__(self, source: Source, demuxer: str, media: Media, size: tuple[int, int], threads: int = 1) -> None:
        self._source, self._demuxer, self._media, self._threads = source, demuxer, media, threads
        self._size = size if media.rotation % 180 == 0 else (size[1], size[0])
        self._scaler = SrgbScaler(self._size)
        self._deinterlaces = media.interlaced
        end = ending(source, demuxer)
        self._held = ExitStack()
        with ExitStack() as resources:
            container, stream = resources.enter_context(opened(source, demuxer, threads=threads))
            codec, configuration = stream.codec.canonical_name, stream.codec_context.extradata
            self._skips = (
                self.skips
                and demuxer in SKIPPED_IN
                and length_bytes(codec, configuration) > 0
                and not self._deinterlaces  # deinterlacing needs the frames before and after
            )
            self._listed = list_packets(container, stream, demuxer, end.cut_off)
            missing = len(stream.index_entries) - self._listed.count if demuxer == "mov" else 0
            if self.keeps_open and demuxer in SKIPPED_IN and not self._listed.sequential:
                self._opened_for_list, self._held = (container, stream), resources.pop_all()
        self.missing = 0 if end.fragmented else missing
        self.cut_off = end.cut_off or (end.fragmented and missing > 0)
        self.timing = self._listed.timing()
        self._stamps, self._keys = self._listed.stamps, self._listed.keys

    def read(self, numbers: Sequence[int]) -> Iterator[Any]:
        """Yield the frames; see `Reader.read`."""
        stamps = [self._stamps[number] for number in numbers]
        with self._reopened() as (container, stream):
            for place, frame in enumerate(self._chosen(container, stream, stamps)):
                if self._skips and stamp_of(frame) != stamps[place]:
                    break  # the stream contradicts its headers: repeat with every frame decoded
                if frame.interlaced_frame and not self._deinterlaces:
                    self._deinterlaces = True  # interlaced from here on
                    break
                yield self._upright(frame)
            else:
                return
        self._skips = False
        yield from self.read(numbers[place:])

    @contextmanager
    def _reopened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """Yield the container at its first key frame. Reuse the one opened for the list: opening is expensive."""
        listed, self._opened_for_list = self._opened_for_list, None
        with self._held.pop_all() as resources:
            if listed is None or not self._goes_back(*listed):
                listed = resources.enter_context(self._opened())
            yield listed

    def _goes_back(self, container: InputContainer, stream: VideoStream) -> bool:
        """Seek to the first key frame; return False if the index is damaged and the file must be reopened."""
        try:
            container.seek(self._keys[0][1], stream=stream)
        except av.error.FFmpegError:
            return False
        return True

    def _opened(self) -> AbstractContextManager[tuple[InputContainer, VideoStream]]:
        """Open the video for decoding."""
        return opened(self._source, self._demuxer, threads=self._threads)

    def _upright(self, frame: VideoFrame) -> Any:
        """Return a decoded frame as `read` yields it."""
        return upright(self._scaler.scale(frame), self._media.rotation, self._media.mirrored)

    def _chosen(self, container: InputContainer, stream: VideoStream, wanted: list[int]) -> Iterator[VideoFrame]:
        """Yield for each of `wanted` the first frame at or after it, or else the file's last frame."""
        needed, packets = frozenset(wanted), self._packets(container, stream)
        frames, frame, reached = self._shown(stream, packets, self._keys[0], needed), None, -sys.maxsize
        if self._listed.order:  # find how far the decoder lags behind its packets
            frame = next(frames, None)
            reached = -sys.maxsize if frame is None else self._stamps[0]
        for stamp in wanted:
            # In `order` a key frame may be shown after frames that follow it, so start at the key frame before it
            before = bisect_right(self._keys, (stamp, sys.maxsize)) - (2 if self._listed.order else 1)
            key = self._keys[max(0, before)]
            if self._position(key[0]) > self._position(reached) + NEAR and key[0] > self._keys[0][0]:
                if self._listed.sequential:  # seeking by time is impossible: continue reading, without decoding
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
        """Yield the packets from the container's position, with the list's timestamps."""
        if self._listed.sequential:
            return packets_on_clock(container, stream, self._demuxer)
        return container.demux(stream)

    def _position(self, stamp: int) -> int:
        return bisect_left(self._stamps, stamp)

    def _shown(
        self, stream: VideoStream, packets: Iterator[VideoPacket], key: tuple[int, int], needed: frozenset[int]
    ) -> Iterator[VideoFrame]:
        """Yield the frames of `_decoded`, deinterlaced and without the edges that the container hides."""
        frames = self._decoded(stream, packets, key, needed)
        if self._listed.order:
            frames = self._in_order(frames, self._listed.order)
        crop = Crop(*self._media.crop)
        return filtered(frames, self._deinterlaces, crop) if self._deinterlaces or any(crop) else frames

    def _in_order(self, frames: Iterator[VideoFrame], order: list[int]) -> Iterator[VideoFrame]:
        """Yield frames with display times, assigned in the order in which the decoder returns them."""
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
        """Yield frames from the packet `key`; started elsewhere, a decoder returns garbage or nothing.

        All frames of `needed` are included. Others may be missing if no frame refers to them.
        """
        has_started, lengths = False, length_bytes(stream.codec.canonical_name, stream.codec_context.extradata)
        decoder = alpha_decoder(stream) or stream.codec_context
        for packet in packets:
            stamp = stamp_of(packet)
            has_started = has_started or (packet.is_keyframe and stamp == key[0])
            if not has_started or (stamp is not None and stamp == self._listed.partial):
                continue
            if self._skips:
                # Damaged packets are decoded too, so that FFmpeg reports them
                is_intact = fill(memoryview(packet), lengths)
                stream.codec_context.skip_frame = "NONREF" if is_intact and stamp not in needed else "DEFAULT"
            yield from decoder.decode(packet)
        if not has_started:  # this container cannot be sought by time
            with self._opened() as (again, same):
                for packet in self._packets(again, same):
                    yield from packet.decode()
