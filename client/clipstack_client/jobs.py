"""Jobs and timelines as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .models import Media, Prediction, Sent, optional, read_media, read_prediction

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
    """One inference of the model; `padded` is true if the video ended before the window."""

    start_s: float
    end_s: float
    padded: bool
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class Timeline:
    """Labels of the video from 0 to `complete_to_s`, which is `duration_s` once the job is done.

    `cuts_s` are the times at which a new shot starts. `windows` is empty unless requested.
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
    Times are ISO 8601 in UTC. `sent` describes what this client sent in place of the file, if anything. `answer` is the
    complete record.
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

    @property
    def ended(self) -> bool:
        """Return whether the job is done, failed or cancelled."""
        return self.state in ENDED


def read_job(answer: Mapping[str, Any]) -> Job:
    """Parse a record; raise KeyError, TypeError or ValueError if it is invalid."""
    progress = answer["progress"]
    error = answer.get("error")
    return Job(
        id=str(answer["id"]),
        state=str(answer["state"]),
        created=str(answer["created"]),
        finished=optional(str, answer.get("finished")),
        name=str(answer.get("name") or ""),
        bytes=int(answer["bytes"]),
        model=str(answer["model"]),
        model_version=optional(str, answer.get("model_version")),
        progress=JobProgress(
            percent=float(progress["percent"]),
            windows_done=int(progress["windows_done"]),
            windows=optional(int, progress.get("windows")),
            eta_s=optional(float, progress.get("eta_s")),
            position=optional(int, progress.get("position")),
        ),
        tries=int(answer.get("tries", 1)),
        cache=optional(str, answer.get("cache")),
        error=None if error is None else (str(error["code"]), str(error["message"])),
        timing_s={str(stage): float(s) for stage, s in (answer.get("timing_s") or {}).items() if s is not None},
        media=optional(read_media, answer.get("media")),
        timeline=optional(_read_timeline, answer.get("timeline")),
        answer=answer,
    )


def _read_timeline(answer: Mapping[str, Any]) -> Timeline:
    return Timeline(
        duration_s=float(answer["duration_s"]),
        complete_to_s=float(answer["complete_to_s"]),
        window_s=float(answer["window_s"]),
        hop_s=float(answer["hop_s"]),
        margin=float(answer["margin"]),
        labels=tuple(str(label) for label in answer["labels"]),
        segments=tuple(
            Segment(float(s["start_s"]), float(s["end_s"]), str(s["label"]), float(s["score"]))
            for s in answer["segments"]
        ),
        cuts_s=tuple(float(time) for time in answer["cuts_s"]),
        windows=tuple(_read_window(window) for window in answer.get("windows") or ()),
    )


def _read_window(answer: Mapping[str, Any]) -> Window:
    return Window(
        start_s=float(answer["start_s"]),
        end_s=float(answer["end_s"]),
        padded=bool(answer["padded"]),
        predictions=tuple(read_prediction(prediction) for prediction in answer["predictions"]),
    )
