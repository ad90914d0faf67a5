"""Jobs and timelines as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from .models import Media, Prediction, Sent
from .notebook import data_frame, html_table

if TYPE_CHECKING:
    from pandas import DataFrame

ENDED = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True)
class Segment:
    """Part of the video with one label; `score` is its mean, 0 to 1."""

    start_s: float
    end_s: float
    label: str
    score: float


@dataclass(frozen=True)
class Window:
    """One inference of the model; `padded` is true if the video ended before the window.

    `decision` has the labels that pass their threshold, best first.
    """

    start_s: float
    end_s: float
    padded: bool
    predictions: tuple[Prediction, ...]
    decision: tuple[str, ...] = ()


@dataclass(frozen=True)
class Timeline:
    """Labels of the video from 0 to `complete_to_s`, which is `duration_s` once the job is done.

    `segments` are in the order of their starts. They have gaps where no label passes its threshold, and overlap if
    `scores` is `sigmoid`. `cuts_s` are the times at which a new shot starts. `windows` is empty unless requested.
    """

    duration_s: float
    complete_to_s: float
    window_s: float
    hop_s: float
    margin: float
    labels: tuple[str, ...]
    segments: tuple[Segment, ...]
    cuts_s: tuple[float, ...]
    windows: tuple[Window, ...]
    scores: str = "softmax"

    @property
    def tracks(self) -> dict[str, tuple[Segment, ...]]:
        """Return the segments of each label, those of the longest total time first."""
        by_label: dict[str, list[Segment]] = {}
        for segment in self.segments:
            by_label.setdefault(segment.label, []).append(segment)
        longest = sorted(by_label.items(), key=lambda item: -sum(part.end_s - part.start_s for part in item[1]))
        return {label: tuple(parts) for label, parts in longest}

    def to_pandas(self) -> DataFrame:
        """Return the segments as a data frame: `start_s`, `end_s`, `label` and `score`; needs pandas."""
        names = ("start_s", "end_s", "label", "score")
        return data_frame({name: [getattr(segment, name) for segment in self.segments] for name in names})

    def _repr_html_(self) -> str:
        rows = [(f"{s.start_s:.2f}", f"{s.end_s:.2f}", s.label, f"{s.score:.1%}") for s in self.segments]
        caption = f"{len(self.segments)} segments of {self.duration_s:.2f} s"
        return html_table(caption, ("start, s", "end, s", "label", "score"), rows)


@dataclass(frozen=True)
class JobProgress:
    """Progress of a job; `windows` and `eta_s` are None while unknown, `position` is its place in the queue."""

    percent: float
    windows_done: int
    windows: int | None
    eta_s: float | None
    position: int | None


@dataclass(frozen=True)
class Job:
    """The service's record of one job.

    `state` is `queued`, `running`, `done`, `failed` or `cancelled`. `error` holds the code and message of a failed job.
    `result` is the label with the longest total time in a finished timeline and its share of the video, if any.
    Times are ISO 8601 in UTC. `sent` describes what this client sent in place of the file, if anything. `answer` is the
    complete record. `near_duplicates` are the ids of earlier jobs whose videos show nearly the same.
    """

    id: str
    state: str
    created: str
    finished: str | None
    name: str
    bytes: int
    model: str
    model_version: str | None
    progress: JobProgress
    tries: int
    cache: str | None
    error: tuple[str, str] | None
    timing_s: Mapping[str, float]
    media: Media | None
    timeline: Timeline | None
    answer: Mapping[str, Any] = field(repr=False, compare=False)
    sent: Sent | None = None
    result: tuple[str, float] | None = None
    near_duplicates: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Return whether the job is done, failed or cancelled."""
        return self.state in ENDED

    def _repr_html_(self) -> str:
        title = f"<p>{escape(self.name or 'unnamed file')}: {escape(self.state)}, {self.progress.percent:.0f}%</p>"
        return title if self.timeline is None else title + self.timeline._repr_html_()
