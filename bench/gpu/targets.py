"""Targets for a GPU, judged by the figures of bench/gpu/run.py."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from bench.gpu.memory import PAGE_BYTES

CLIP_MS, CLIPS_PER_S = 3.6, 1500.0  # for X3D-M on one data-centre GPU


class Target(NamedTuple):
    """Largest, or with `more_is_better` smallest, allowed value of a figure."""

    name: str
    value: float
    bound: float
    more_is_better: bool = False

    @property
    def met(self) -> bool:
        """Return whether the value is within the bound."""
        return self.value >= self.bound if self.more_is_better else self.value <= self.bound

    def as_dict(self) -> dict[str, Any]:
        """Return the target for the file of results."""
        word = "at least" if self.more_is_better else "at most"
        return {"name": self.name, "value": self.value, "wanted": f"{word} {self.bound:g}", "met": self.met}


def judge(result: dict[str, Any]) -> list[Target]:
    """Return the targets whose figures exist; runs with fewer models or without Triton have fewer."""
    return list(_targets(result.get("engine", {}), result.get("path", {})))


def _targets(engine: dict[str, Any], path: dict[str, Any]) -> Iterator[Target]:
    if speed := engine.get("x3d_m", {}).get("speed"):
        best = max(row["clips_per_s"] for row in speed["batches"].values())
        yield Target("X3D-M clips a second, in batches", best, CLIPS_PER_S, more_is_better=True)
    way = path.get("x3d_m", {}).get("cuda", {})
    if "senders" in way:
        yield Target("X3D-M one clip, slot to scores, ms", way["senders"]["1"]["p50_ms"], CLIP_MS)
    for name, row in path.get("growth", {}).items():
        if "growth_bytes" in row:
            words = f"bytes that {row['requests']} requests leave, by {name}"
            yield Target(words, row["growth_bytes"], PAGE_BYTES)
    for name, row in path.get("killed", {}).items():
        if "left_bytes" in row:
            yield Target(f"bytes that a killed worker leaves, by {name}", row["left_bytes"], PAGE_BYTES)
