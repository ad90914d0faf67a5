"""Video readers on decord and PyAV: they open a video, report the time of each frame, and return chosen frames.

H.264 and HEVC are read with PyAV, which can skip frames that no other frame refers to. decord reads other codecs where
it is reliable (docs/decisions/0009-two-readers.md). It counts packets, and not every file has one for each frame:
decord2 3.4.0 silently returns wrong frames for MPEG-TS, MPEG-PS, ASF, AVI with B-frames, MPEG-2 and MPEG-4 with
B-frames in MP4 and Matroska, and MP4 whose edit list cuts into a group of pictures.
"""

from app.images.animations import ANIMATED, AnimationReader
from app.media.frames import Reader
from app.media.types import Media, Source
from app.video.decord_reader import open_decord_reader
from app.video.packet_reader import PacketReader
from app.video.probe import DEFAULTS, Resources


def open_reader(
    source: Source, media: Media, demuxer: str, size: tuple[int, int], resources: Resources = DEFAULTS
) -> Reader:
    """Open a video for reading some upright frames of `size` (width, height) pixels.

    Use `open_sequentially` to read all of a long video: decord holds the whole file in memory, 0.6 GB for 0.5 GB.
    """
    if demuxer in ANIMATED:
        return AnimationReader(source, media, size, resources.animation)
    reader = open_decord_reader(source, media, demuxer, size, resources.video)
    return reader or PacketReader(source, demuxer, media, size, resources)


def open_sequentially(source: Source, media: Media, demuxer: str, size: tuple[int, int]) -> Reader:
    """Open a video of any length for reading all of it."""
    if demuxer in ANIMATED:
        return AnimationReader(source, media, size)
    return PacketReader(source, demuxer, media, size)
