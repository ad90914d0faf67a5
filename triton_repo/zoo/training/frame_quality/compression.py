"""Pictures after JPEG or H.264 compression, RGB uint8 (H, W, 3)."""

from fractions import Fraction

import av
import cv2
import numpy as np

from triton_repo.zoo.training.camera_motion.scenes import Image


def through_jpeg(picture: Image, quality: int) -> Image:
    """Return the picture after JPEG compression."""
    blue_first = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def h264_frame(picture: Image, qp: int, deblock: bool = True) -> av.VideoFrame:
    """Return the picture as a frame decoded from a one-frame H.264 stream; height and width must be even."""
    height, width = picture.shape[:2]
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = width, height, "yuv420p", Fraction(30)
    encoder.options = {"qp": str(qp), "preset": "superfast", "tune": "zerolatency"}
    if not deblock:
        encoder.options |= {"x264-params": "no-deblock=1"}
    encoder.thread_count = 1
    packets = encoder.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")) + encoder.encode()
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return frames[0]


def through_h264(picture: Image, qp: int, deblock: bool = True) -> Image:
    """Return the picture after H.264 compression, RGB uint8 (H, W, 3)."""
    return np.asarray(h264_frame(picture, qp, deblock).to_ndarray(format="rgb24"))


def even(picture: Image) -> Image:
    """Return the picture without an odd last row or column, because H.264 halves the chroma resolution."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[: height & ~1, : width & ~1])
