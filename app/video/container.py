"""Opening of video files with PyAV: only the expected format, only allowed codecs, only the given byte range."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import decord
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from app.errors import LimitExceeded, NoVideoStream, Undecodable, UnsupportedMedia
from app.media.formats import HEAD_BYTES, VIDEO_CODECS, ts_start, unsupported_codec
from app.media.types import Source
from app.video.truncation import Ending, find_ending

# FFmpeg decodes some frames when it opens a file, to find the order of frames; nobody sees their pixels. PyAV gives
# these options to these decoders alone.
_PROBING = {"skip_loop_filter": "all", "skip_idct": "all"}


@contextmanager
def convert_errors() -> Iterator[None]:
    """Map the libraries' errors to ours; FileNotFoundError passes, because it is not the media's fault."""
    try:
        yield
    except FileNotFoundError:
        raise
    except MemoryError as error:
        raise LimitExceeded("decoding this file needs more memory than allowed: send a smaller version") from error
    except av.error.DecoderNotFoundError as error:
        raise UnsupportedMedia("the video uses a codec that is not supported") from error
    except (av.error.FFmpegError, decord.DECORDError, RuntimeError, AssertionError) as error:
        # decord raises RuntimeError for what it cannot open and AssertionError for a video without frames
        raise Undecodable("the file is damaged and cannot be decoded") from error


def ffmpeg_name(source: Source) -> str:
    """Return the name under which FFmpeg opens a byte range; a whole file keeps its plain path."""
    path = Path(source.path).absolute()
    if source.offset == 0 and source.length == path.stat().st_size:
        return str(path)
    return f"subfile,,start,{source.offset},end,{source.offset + source.length},,:{path}"


def _readable(source: Source, demuxer: str, end: Ending | None) -> Source:
    """Return the part of a file that FFmpeg accepts: no bytes before an MPEG-TS, no partial index after an MP4."""
    before = after = 0
    if demuxer == "mpegts":
        before = ts_start(source.read(HEAD_BYTES)) or 0
    elif demuxer == "mov":
        after = (end or find_ending(source, demuxer)).trailing_bytes
    if not before and not after:
        return source
    return Source(source.path, source.offset + before, source.length - before - after)


@contextmanager
def open_container(
    source: Source, demuxer: str, hwaccel: HWAccel | None = None, threads: int = 1, end: Ending | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video with PyAV; `end` is how the file ends, if that is known. Raises UnsupportedMedia, NoVideoStream."""
    source = _readable(source, demuxer, end)
    options = {"format_whitelist": demuxer, "protocol_whitelist": "file,subfile"}
    try:
        container = av.open(ffmpeg_name(source), options=options | _PROBING, metadata_errors="replace", hwaccel=hwaccel)
    except av.error.ArgumentError as error:  # decord guesses formats as FFmpeg does, and must not open the other format
        raise UnsupportedMedia("the file's content does not match its first bytes: export it again") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise NoVideoStream("there is no video in this file, only sound or other data: send one with a picture")
        # Without a decoder a stream has no properties, not even a width
        if stream.codec_context is None or stream.codec.canonical_name not in VIDEO_CODECS:
            raise unsupported_codec(stream.codec_context.codec.name if stream.codec_context else "")
        stream.thread_count, stream.thread_type = threads, "FRAME"
        yield container, stream
