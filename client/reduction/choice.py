"""What `auto` sends: whatever is there first by the figures that docs/upload.md measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.reduction.facts import Facts

# Measured by `clipstack bench upload`; bench/results/upload.json and a test hold them against each other.
DECODED_MPX_S = {"h264": 350.0, "hevc": 300.0, "vp9": 200.0}  # millions of pixels a second; the slowest for all others
SHRUNK_S, SHRUNK_FRAME_S = 0.03, 0.00065  # to begin, and to scale and encode one frame
SHRUNK_BYTES_S = 30_000.0  # a second of video once it is small
FRAMES_S = 0.08  # to find and encode the frames of one clip, besides decoding them
FRAMES_BYTES = 40_000.0  # of one clip; 15,000 for the smallest model
LOOKED_AT = 45  # frames decoded for one clip: it, and half the way from key frame to key frame in most videos
WORTH = 0.8  # less is sent only where that takes less than this share of the time


def times_s(facts: Facts, clips: int, bytes_s: float, left: int | None = None) -> dict[str, float]:
    """Estimated seconds until the service could answer, by reduction; `clips` is 0 where single frames will not do.

    `left` is how many bytes of the whole file are still to be sent, all of them by default. For `frames` the client
    decodes what the service decodes of the whole file, for one clip in the same time. Of a service that looks at all
    frames nothing is assumed.
    """
    decoded_s = facts.pixels / 1e6 / DECODED_MPX_S.get(facts.codec, min(DECODED_MPX_S.values()))
    frames = facts.frames or (facts.duration_s or 0.0) * (facts.fps or 0.0)
    look_s = min(clips * LOOKED_AT / frames, 1.0) * decoded_s if frames else 0.0
    seconds = {
        "none": (facts.bytes if left is None else left) / bytes_s + look_s,
        "shrink": decoded_s + SHRUNK_S + frames * SHRUNK_FRAME_S + (facts.duration_s or 0.0) * SHRUNK_BYTES_S / bytes_s,
    }
    if clips:
        seconds["frames"] = look_s + clips * (FRAMES_S + FRAMES_BYTES / bytes_s)
    return seconds


def choose(facts: Facts, clips: int, bytes_s: float, left: int | None = None) -> str:
    """`none`, `shrink` or `frames`, whichever is through first; `none` unless another is so by a fifth."""
    seconds = times_s(facts, clips, bytes_s, left)
    best = min(seconds, key=lambda reduction: seconds[reduction])
    return best if seconds[best] < WORTH * seconds["none"] else "none"
