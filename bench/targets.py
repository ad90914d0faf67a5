"""Performance targets, judged by the files of results and never by a test."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench import pages
from bench.stats import short_number

Results = Mapping[str, Any]
Path = tuple[str, ...]
LITSERVE, FLASK = "LitServe + OpenVINO", "Flask + torch"


class Target(NamedTuple):
    """Bound of the figure under `path` of the results: a comparison with `peer`, or one number of ours."""

    words: str
    path: Path
    bound: float
    at_least: bool = False
    peer: str = ""


class Verdict(NamedTuple):
    """A target with its measured figures; each is None if it was not measured.

    `value` is the ratio, or the number of ours.
    """

    target: Target
    value: float | None = None
    ours: float | None = None
    theirs: float | None = None

    @property
    def met(self) -> bool | None:
        """Return whether the bound is met, or None without a value."""
        if self.value is None:
            return None
        return self.value >= self.target.bound if self.target.at_least else self.value <= self.target.bound


def _against(baseline: str, clients: int, *figure: str) -> Path:
    return "throughput", "against", baseline, "clients", str(clients), *figure


TARGETS = (
    Target("clips/s, 4 clients, defaults", _against("litserve_openvino", 4, "per_s"), 1.3, True, LITSERVE),
    Target("clips/s, 16 clients, defaults", _against("litserve_openvino", 16, "per_s"), 1.3, True, LITSERVE),
    Target("clips/s, 4 clients, both f32", _against("litserve_openvino_f32", 4, "per_s"), 1.25, True, LITSERVE),
    Target("clips/s, 16 clients, both f32", _against("litserve_openvino_f32", 16, "per_s"), 1.25, True, LITSERVE),
    Target("p99 with 16 clients, ms", _against("litserve_openvino", 16, "p99_ms"), 0.9, False, LITSERVE),
    Target("one client, small clip, ms", _against("litserve_openvino", 1, "p50_ms"), 0.85, False, LITSERVE),
    Target(
        "one client, 10 s of 1080p, ms",
        ("throughput", "against", "litserve_openvino", "large", "p50_ms"),
        0.6,
        peer=LITSERVE,
    ),
    Target("share of the parts' own limit, clips/s", ("throughput", "parts", "per_s"), 0.9, True, "decode + infer"),
    Target("clips/s, 4 clients, defaults", _against("flask_torch", 4, "per_s"), 4.5, True, FLASK),
    Target("clips/s, 16 clients, defaults", _against("flask_torch", 16, "per_s"), 4.5, True, FLASK),
    Target("gunicorn's CPU a clip, 16 clients, ms", _against("litserve_openvino", 16, "cpu_ms", "ours", "web"), 4),
    Target("Triton's memory, MiB", ("memory", "triton"), 2, False, "the weights"),
    Target("cold start to the first answer, s", ("startup", "first_answer_s"), 1.5, False, LITSERVE),
    Target("to Triton and back with 2.4 MB, beyond inference, ms", ("transport", "overhead_ms"), 1.5),
    Target(
        "96 MB to Triton inline, over shared memory, ratio", ("transport", "sizes", "96", "inline_over_shm"), 20, True
    ),
    Target(
        "200 MB until the first frame, s", ("handoff", "sizes", "200", "seconds"), 0.3, False, "a form through Flask"
    ),
    Target("memory of one more web worker, MiB", ("memory", "ours_each_mib"), 40),
    Target("copies of the model in one more web worker", ("memory", "copies_added"), 0.05),
    Target("first clip after a start, over the median of 20", ("startup", "first", "first_over_median"), 1.5),
    Target("`make up` until ready, s", ("startup", "ready_s"), 10),
    Target("search among 100,000 windows, p99, ms", ("search", "p99_ms"), 20),
    Target("the five nearest of exact search that are found", ("search", "recall_at_5"), 0.95, True),
)


def judge(results: Results) -> list[Verdict]:
    """Return the verdict of every target."""
    return [_verdict(target, results) for target in TARGETS]


def _verdict(target: Target, results: Results) -> Verdict:
    figure: Any = results
    for name in target.path:
        if not isinstance(figure, Mapping) or name not in figure:
            return Verdict(target)
        figure = figure[name]
    if not target.peer:
        return Verdict(target, _median(figure))
    if not isinstance(figure, Mapping) or "ratio" not in figure:
        return Verdict(target)
    return Verdict(target, *(_median(figure[name]) for name in ("ratio", "ours", "theirs")))


def _median(figure: Any) -> float | None:
    value = figure.get("median") if isinstance(figure, Mapping) else figure
    return float(value) if isinstance(value, int | float) else None


def table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as a Markdown table."""
    rows = []
    for verdict in verdicts:
        target = verdict.target
        bound = f"{'≥' if target.at_least else '≤'} {target.bound:g}"
        word = {True: "met", False: "**missed**", None: "not measured"}[verdict.met]
        cells = [_number(verdict.value), "–", "–"]
        if target.peer:
            cells = [_number(verdict.ours), f"{_number(verdict.theirs)} ({target.peer})", _number(verdict.value)]
        rows.append([target.words, *cells, bound, word])
    return pages.table(("what", "ours", "best peer", "ratio", "target", ""), "lrrrrl", rows)


def _number(value: float | None) -> str:
    return "–" if value is None else short_number(value)
