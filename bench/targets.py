"""Performance targets, judged by the files of results and never by a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Results = Mapping[str, Any]


class Target(NamedTuple):
    """Bound of the figure under `path` of the results; `value` is None if it was not measured."""

    words: str
    path: tuple[str, ...]
    bound: float
    at_least: bool
    value: float | None = None

    @property
    def met(self) -> bool | None:
        """Return whether the bound is met, or None without a value."""
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


TARGETS = (
    Target("throughput over Flask + torch", ("throughput", "best", "flask_torch"), 4.0, True),
    Target("throughput over LitServe + OpenVINO", ("throughput", "best", "litserve_openvino"), 1.3, True),
    Target("throughput over the parts' own limit", ("throughput", "parts", "ours_of_limit", "median"), 0.93, True),
    Target(
        "one client, small clip, over LitServe",
        ("latency", "against", "litserve_openvino", "small", "p50_ms", "ratio", "median"), 0.8, False,
    ),
    Target(
        "one client, 10 s of 1080p, over LitServe",
        ("latency", "against", "litserve_openvino", "large", "p50_ms", "ratio", "median"), 0.6, False,
    ),
    Target(
        "app to Triton and back with 2.4 MB, beyond inference, ms",
        ("transport", "overhead_ms", "median"), 1.5, False,
    ),
    Target(
        "inline gRPC over shared memory at 96 MB",
        ("transport", "sizes", "96", "inline_over_shm", "median"), 20.0, True,
    ),
    Target(
        "200 MB handed on until the first decoded frame, over a form through Flask",
        ("handoff", "sizes", "200", "seconds", "ratio", "median"), 0.3, False,
    ),
    Target("memory of one more web worker, MiB", ("memory", "ours_each_mib"), 40.0, False),
    Target("copies of the model that more web workers add", ("memory", "copies_added"), 0.05, False),
    Target(
        "first clip after a start, over the median of the first 20",
        ("start", "first", "first_over_median", "median"), 1.5, False,
    ),
    Target("`make up` until ready, set up before, s", ("start", "ours_s", "median"), 10.0, False),
)  # fmt: skip


def judged(results: Results) -> list[Target]:
    """Return all targets with their figures."""
    return [target._replace(value=found(results, target.path)) for target in TARGETS]


def found(results: Results, path: tuple[str, ...]) -> float | None:
    """Return the number under these names, or None."""
    place: Any = results
    for name in path:
        if not isinstance(place, Mapping) or name not in place:
            return None
        place = place[name]
    return float(place) if isinstance(place, int | float) else None


def table(told: list[Target]) -> str:
    """Return the targets as a Markdown table."""
    lines = ["| target | wanted | measured | |", "|---|--:|--:|---|"]
    for target in told:
        bound = f"{'≥' if target.at_least else '≤'} {target.bound:g}"
        value = "–" if target.value is None else f"{target.value:.3g}"
        word = {True: "met", False: "**missed**", None: "not measured"}[target.met]
        lines.append(f"| {target.words} | {bound} | {value} | {word} |")
    return "\n".join(lines) + "\n"


__all__ = ["TARGETS", "Target", "found", "judged", "table"]
