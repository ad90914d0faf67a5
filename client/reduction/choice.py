"""What `auto` sends: whatever the measured figures of docs/upload.md say is there first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.reduction.facts import Facts

# Millions of pixels a second that are decoded, scaled and encoded again, by codec; the slowest for all others.
SHRINK_MPX_S = {"h264": 150.0}
SHRUNK_BYTES_S = 20_000.0  # a second of video once it is small
FRAMES_S = 0.1  # to find, decode and encode the frames of one clip
FRAMES_BYTES = 40_000.0  # of one clip
WORTH = 0.8  # less is sent only where that takes less than this share of the time


def times_s(facts: Facts, clips: int, bytes_s: float, left: int | None = None) -> dict[str, float]:
    """Estimated seconds until everything is sent, by reduction; `clips` is 0 where single frames will not do.

    `left` is how many bytes of the whole file are still to be sent, all of them by default.
    """
    speed = SHRINK_MPX_S.get(facts.codec, min(SHRINK_MPX_S.values())) * 1e6
    seconds = {"none": (facts.bytes if left is None else left) / bytes_s}
    seconds["shrink"] = facts.pixels / speed + (facts.duration_s or 0.0) * SHRUNK_BYTES_S / bytes_s
    if clips:
        seconds["frames"] = clips * (FRAMES_S + FRAMES_BYTES / bytes_s)
    return seconds


def choose(facts: Facts, clips: int, bytes_s: float, left: int | None = None) -> str:
    """`none`, `shrink` or `frames`, whichever is through first; `none` unless another is so by a fifth."""
    seconds = times_s(facts, clips, bytes_s, left)
    best = min(seconds, key=lambda reduction: seconds[reduction])
    return best if seconds[best] < WORTH * seconds["none"] else "none"
