"""Choice of `auto`: the reduction with the earliest answer, by the figures in docs/upload.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .probe import Facts

# Measured by `python -m bench.upload`; a test compares them with bench/results/upload.json.
DECODED_MPX_S = {"h264": 350.0, "hevc": 300.0, "vp9": 200.0}  # megapixels per second; other codecs use the smallest
SHRUNK_S, SHRUNK_FRAME_S = 0.03, 0.00065  # to start, and to scale and encode one frame
SHRUNK_BYTES_S = 30_000.0  # bytes for one second of small video
FRAMES_S = 0.08  # to find and encode the frames of one clip, besides decoding them
FRAMES_BYTES = 40_000.0  # for one clip; 15,000 for the smallest model
FRAMES_PER_CLIP = 45  # decoded: a clip's own, and half a key-frame interval of most videos
MAX_TIME_RATIO = 0.8  # a reduction must take less than this part of the time


def estimate_s(facts: Facts, clips: int, bytes_s: float, bytes_left: int | None = None) -> dict[str, float]:
    """Return the estimated seconds until the service could answer, by reduction.

    For `frames` the client decodes what the service would decode of the whole file, in the same time. `clips` is 0 for
    timelines, which use all frames: no decoding time is assumed then. `bytes_s` is the upload rate; `bytes_left` are
    the bytes of the whole file that are still to be sent, all by default.
    """
    decoded_s = facts.pixels / 1e6 / DECODED_MPX_S.get(facts.codec, min(DECODED_MPX_S.values()))
    frames = facts.frames or (facts.duration_s or 0.0) * (facts.fps or 0.0)
    clip_decoding_s = min(clips * FRAMES_PER_CLIP / frames, 1.0) * decoded_s if frames else 0.0
    seconds = {
        "none": (facts.bytes if bytes_left is None else bytes_left) / bytes_s + clip_decoding_s,
        "shrink": decoded_s + SHRUNK_S + frames * SHRUNK_FRAME_S + (facts.duration_s or 0.0) * SHRUNK_BYTES_S / bytes_s,
    }
    if clips:
        seconds["frames"] = clip_decoding_s + clips * (FRAMES_S + FRAMES_BYTES / bytes_s)
    return seconds


def choose(facts: Facts, clips: int, bytes_s: float, bytes_left: int | None = None) -> str:
    """Return `none`, `shrink` or `frames`, whichever is fastest; another than `none` must be faster by a fifth."""
    seconds = estimate_s(facts, clips, bytes_s, bytes_left)
    best = min(seconds, key=lambda reduction: seconds[reduction])
    return best if seconds[best] < MAX_TIME_RATIO * seconds["none"] else "none"
