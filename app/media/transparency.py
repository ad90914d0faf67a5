"""Transparent video: detection, decoders that support it, and composition on white."""

import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

BAND = 256  # rows composed at a time
WHITE = 255

# FFmpeg's own decoders of these ignore the second picture, in which Matroska and WebM store the alpha channel
_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def has_alpha(frame: VideoFrame) -> bool:
    """Return whether this frame's pixel format has transparency."""
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


def has_second_picture(stream: VideoStream) -> bool:
    """Return whether the stream stores its alpha channel as a second picture."""
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    return stream.codec.canonical_name in _DECODERS and tags.get("alpha_mode") == "1"


def alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """Return a new decoder for the packets of a stream with a second picture, or None for other streams."""
    if not has_second_picture(stream):
        return None
    decoder = CodecContext.create(_DECODERS[stream.codec.canonical_name], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = stream.thread_count
    return decoder


def compose_on_white(rgba: VideoFrame) -> VideoFrame:
    """Return an "rgba" frame composed on white, as "rgb24"."""
    source = rgba.to_ndarray()
    rgb = np.empty((*source.shape[:2], 3), np.uint8)
    for top in range(0, len(source), BAND):
        band = source[top : top + BAND]
        alpha = band[..., 3:].astype(np.uint16)
        rgb[top : top + BAND] = (band[..., :3] * alpha + (WHITE - alpha) * WHITE + WHITE // 2) // WHITE
    return VideoFrame.from_ndarray(rgb, format="rgb24")
