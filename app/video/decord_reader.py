"""Reader on decord; no other module decodes with decord."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress

import decord
import numpy as np
from av.stream import Stream

from app.media.formats import SOUND_CODECS, VIDEO_CODECS
from app.media.frames import Frame
from app.media.sampling import Timing
from app.media.types import Media, Source
from app.video.container import ffmpeg_name, open_container
from app.video.packet_reader import SKIPPED_CODECS
from app.video.probe import OpenVideo
from app.video.truncation import find_ending

CHUNK_BYTES = 32 << 20  # of scaled frames per batch: decord returns whole batches
# decord miscounts these codecs, whose frames may refer to later ones
_MISCOUNTED_CODECS = (*SKIPPED_CODECS, "mpeg1video", "mpeg2video", "mpeg4", "svq3", "vc1", "wmv3")
_CONTAINERS = ("mov", "matroska", "flv", "gif")  # containers whose packets decord counts correctly

decord.logging.set_level(decord.logging.QUIET)


def open_decord_reader(
    source: Source, media: Media, demuxer: str, size: tuple[int, int], video: OpenVideo | None = None
) -> DecordReader | None:
    """Open a video with frames of `size` (width, height); None if decord cannot read it or its frames are not exact."""
    if (
        media.codec in _MISCOUNTED_CODECS
        or not media.shown_as_stored
        or demuxer not in _CONTAINERS
        or not _has_intact_frames(size[0])
        or (video.end if video else find_ending(source, demuxer)).cut_off  # its last frame is incomplete
        or not _has_exact_frames(source, demuxer, video)
    ):
        return None
    # PyAV may open what decord cannot, for example a single frame in Matroska; otherwise PyAV's error counts
    with suppress(decord.DECORDError, RuntimeError, AssertionError):
        reader = DecordReader(ffmpeg_name(source), size, media.frames if demuxer == "mov" else None)
        if reader.has_rising_times():
            return reader
    return None


def _has_intact_frames(width: int) -> bool:
    """Return whether decord returns intact frames of this width.

    It takes a padded row's length divided by the width for the number of channels: 96 pixels in a row of 128 have four.
    """
    padded = (-(-width // to) * to for to in (16, 32, 64, 128))
    return all(row == width or 3 * row % width for row in padded)


def _has_exact_frames(source: Source, demuxer: str, video: OpenVideo | None) -> bool:
    """Return whether decord counts this file's frames correctly, and all its codecs are allowed, used or not."""
    opened = nullcontext((video.container, video.stream)) if video else open_container(source, demuxer)
    with opened as (container, stream):
        cut_by_edits = demuxer == "mov" and any(entry.is_discard for entry in stream.index_entries)
        return not cut_by_edits and all(_has_allowed_codec(other) for other in container.streams)


def _has_allowed_codec(stream: Stream) -> bool:
    if stream.type not in ("video", "audio"):
        return True  # text and data: never decoded
    context = stream.codec_context
    return context is not None and context.codec.canonical_name in VIDEO_CODECS | SOUND_CODECS


class DecordReader:
    """Reader by frame number; scales and rotates in the decoder's own filter graph."""

    def __init__(self, path: str, size: tuple[int, int], expected_frames: int | None) -> None:
        width, height = size
        self._video = decord.VideoReader(path, width=width, height=height, num_threads=1)
        self._chunk = max(1, CHUNK_BYTES // (width * height * 3))
        spans = self._video.get_frame_timestamp(range(len(self._video))).astype(np.float64)
        times_s = spans[:, 0]
        self.timing = Timing.of(times_s, times_s[self._video.get_key_indices()], float(spans[-1, 1]))
        self.missing, self.cut_off = max(0, (expected_frames or 0) - len(spans)), False

    def has_rising_times(self) -> bool:
        """Return whether decord can find frames by these timestamps: they must start at 0 and rise.

        With equal timestamps it sometimes returns the next frame instead (7 of 100 readings).
        """
        times_s = self.timing.times_s
        return abs(times_s[0]) < 1e-3 and bool(np.all(np.diff(times_s) > 0))

    def read(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Yield the frames; see `Reader.read`."""
        for start in range(0, len(numbers), self._chunk):
            yield from self._video.get_batch(numbers[start : start + self._chunk]).asnumpy()
