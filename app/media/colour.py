"""Conversion of decoded frames to sRGB pixels of a model's size; only this module decides how colours are interpreted.

Ordinary video (opaque, in the gamut of sRGB) takes one call of swscale. High dynamic range, wide gamuts, matrices that
swscale lacks and grey of limited range are scaled first and then converted with NumPy (app/media/transfer.py).
Transparent video is composed on white before it is scaled.
"""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from app.media.frames import Frame
from app.media.transfer import HDR, WIDE, to_srgb
from app.media.transparency import compose_on_white, has_alpha
from app.media.types import Conversion

HD_WIDTH, HD_HEIGHT = 1280, 720  # untagged video of at least one of these is BT.709, smaller video BT.601

# FFmpeg's numbers of matrices (H.273)
BT709, BT601, BT2020 = 1, 5, 9
_ALSO_BT601 = 6
_YCGCO, _BT2020_CONSTANT, _ICTCP = 8, 10, 14
# Luma weights of red and blue, of the matrices that swscale converts
WEIGHTS = {BT709: (0.2126, 0.0722), 4: (0.30, 0.11), BT601: (0.299, 0.114), 7: (0.212, 0.087), BT2020: (0.2627, 0.0593)}
_SWSCALE = frozenset(WEIGHTS)


def matrix(frame: VideoFrame) -> int:
    """Return FFmpeg's number of the frame's YUV-to-RGB matrix; without a tag the frame size decides."""
    space = int(frame.colorspace)
    if space in _SWSCALE or space in (_YCGCO, _ICTCP):
        return space
    if space == _ALSO_BT601:
        return BT601
    # Constant luminance differs from BT.2020's other matrix by a few levels, only in strong colours
    if space == _BT2020_CONSTANT or frame.color_primaries == ColorPrimaries.BT2020 or frame.color_trc in HDR:
        return BT2020
    return BT709 if frame.width >= HD_WIDTH or frame.height >= HD_HEIGHT else BT601


def conversion(frame: VideoFrame) -> Conversion:
    """Return what a reader must do to show the right colours of a video with frames like this one.

    "ordinary": scale only. "matrix": pass `matrix` to the scaler. "full": use SrgbScaler.
    """
    if has_alpha(frame) or _needs_numpy(frame):
        return "full"
    is_named = frame.colorspace in _SWSCALE or frame.colorspace == _ALSO_BT601
    return "ordinary" if is_named or _has_no_matrix(frame) or matrix(frame) == BT601 else "matrix"


def _has_no_matrix(frame: VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette or _is_grey(frame)


def _is_grey(frame: VideoFrame) -> bool:
    return frame.format.name.startswith("gray")


def _is_plain(frame: VideoFrame) -> bool:
    """Return whether a frame has the most usual format: its planes may be resized before they become RGB."""
    return frame.format.name == "yuv420p" and not _is_full_range(frame)


def _is_full_range(frame: VideoFrame) -> bool:
    return bool(frame.color_range == ColorRange.JPEG) or frame.format.name.startswith("yuvj")


def _needs_numpy(frame: VideoFrame) -> bool:
    """Return whether swscale alone gives wrong colours of an opaque frame."""
    if frame.color_trc in HDR or frame.color_primaries in WIDE:
        return True
    if _is_grey(frame):
        return bool(frame.color_range == ColorRange.MPEG)  # swscale treats all grey as full range
    return not _has_no_matrix(frame) and matrix(frame) not in _SWSCALE


class SrgbScaler:
    """Scaler of one video's frames to `size` (width, height) and 8-bit sRGB."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        # Reused: a new one costs 0.7 ms
        self._scaler, self._flattener, self._resizer = VideoReformatter(), VideoReformatter(), VideoReformatter()
        self._frame_format: tuple[object, ...] = ()
        self._matrix = BT601
        self._has_alpha = self._needs_numpy = False

    def scale(self, frame: VideoFrame) -> Frame:
        """Return the frame as uint8 (height, width, 3)."""
        colours = frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries
        frame_format = frame.format.name, frame.width, frame.height, *colours
        if frame_format != self._frame_format:
            self._frame_format, self._matrix = frame_format, matrix(frame)
            self._has_alpha, self._needs_numpy = has_alpha(frame), _needs_numpy(frame)
        if self._needs_numpy:
            return self._convert(frame)
        source = frame
        if self._has_alpha:  # composed at its own size: hidden pixels must not bleed into visible ones
            source = compose_on_white(self._flattener.reformat(frame, None, None, "rgba", self._matrix, threads=1))
        width, height = self._size
        if (frame.width, frame.height) != self._size and _is_plain(frame):
            # swscale resizes planes with SIMD, and straight to RGB without: 1.3 to 1.6 times as slow
            matrices = BT709, BT709  # any will do, because source and result use the same
            source = self._resizer.reformat(
                source, width, height, "yuv444p", *matrices, interpolation=Interpolation.BICUBIC, threads=1
            )
        scaled = self._scaler.reformat(
            source, width, height, "rgb24", self._matrix, interpolation=Interpolation.BICUBIC, threads=1
        )
        return scaled.to_ndarray()  # type: ignore[return-value]

    def _convert(self, frame: VideoFrame) -> Frame:
        planes = self._planes(frame)
        limited = not frame.format.is_rgb and not _is_full_range(frame)
        codes = planes if frame.format.is_rgb else _rgb_codes(planes, self._matrix, limited)
        if frame.color_trc in HDR or frame.color_primaries in WIDE:
            return to_srgb(codes, int(frame.color_trc), int(frame.color_primaries), self._matrix == _ICTCP)
        return np.asarray(np.round(codes.clip(0, 1) * 255), np.uint8)

    def _planes(self, frame: VideoFrame) -> NDArray[np.float32]:
        """Return the scaled planes as stored, float32 0 to 1 (height, width, 1 or 3)."""
        pixels = "gray16le" if _is_grey(frame) else "rgb48le" if frame.format.is_rgb else "yuv444p16le"
        color_range = ColorRange.JPEG if _is_full_range(frame) else ColorRange.MPEG
        width, height = self._size
        # Any matrix works, because source and result use the same
        colours = (BT709, BT709, Interpolation.BICUBIC, color_range, color_range)
        scaled = self._scaler.reformat(frame, width, height, pixels, *colours, threads=1)
        return np.atleast_3d(scaled.to_ndarray(channel_last=True)).astype(np.float32) / 65535


def _rgb_codes(planes: NDArray[np.float32], space: int, limited: bool) -> NDArray[np.float32]:
    """Return RGB 0 to 1 (height, width, 3) from grey or YUV; ICtCp unchanged, because its matrix needs linear light."""
    if limited:
        planes = planes * (65535 / 256)
        luma, chroma = (planes[..., :1] - 16) / 219, (planes[..., 1:] - 128) / 224
    else:
        luma, chroma = planes[..., :1], planes[..., 1:] - 32768 / 65535
    if not chroma.shape[-1]:
        return np.repeat(luma, 3, axis=-1)
    codes: NDArray[np.float32] = np.concatenate([luma, chroma], axis=-1)
    return codes if space == _ICTCP else codes @ np.array(yuv_matrix(space), np.float32).T


def yuv_matrix(space: int) -> tuple[tuple[float, float, float], ...]:
    """Return the matrix from Y (0 to 1), U and V (-0.5 to 0.5) to RGB (ITU-T H.273, 8.3); default BT.601."""
    if space == _YCGCO:
        return (1, -1, 1), (1, 1, 0), (1, -1, -1)
    red, blue = WEIGHTS.get(space, WEIGHTS[BT601])
    green = 1 - red - blue
    v_red, u_blue = 2 * (1 - red), 2 * (1 - blue)
    return (1, 0, v_red), (1, -u_blue * blue / green, -v_red * red / green), (1, u_blue, 0)
