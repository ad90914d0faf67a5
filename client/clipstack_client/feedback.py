"""Feedback of the service as a frozen dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Feedback:
    """An answer that a person confirmed or corrected, or an unsure answer.

    `state` is `unsure`, `confirmed` or `corrected`; `labels` are the right ones, empty while it is unsure. `start_s`
    and `end_s` are None for the whole file. `kind` is `video` or `image`. `answer` is the complete record.
    """

    id: str
    state: str
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    score: float | None
    model: str
    start_s: float | None
    end_s: float | None
    job: str | None
    updated: str
    file_name: str
    bytes: int
    kind: str
    sha256: str
    duration_s: float | None
    fps: float | None
    answer: Mapping[str, Any] = field(repr=False, compare=False)


def parse_feedback(data: Mapping[str, Any]) -> Feedback:
    """Parse one entry of `/v1/feedback`; raises KeyError, TypeError or ValueError for invalid data."""
    file = data["file"]

    def number(values: Mapping[str, Any], name: str) -> float | None:
        return None if values.get(name) is None else float(values[name])

    return Feedback(
        id=str(data["id"]),
        state=str(data["state"]),
        labels=tuple(str(label) for label in data["labels"]),
        predicted=tuple(str(label) for label in data["predicted"]),
        score=number(data, "score"),
        model=str(data["model"]),
        start_s=number(data, "start_s"),
        end_s=number(data, "end_s"),
        job=None if data.get("job") is None else str(data["job"]),
        updated=str(data["updated"]),
        file_name=str(file["name"]),
        bytes=int(file["bytes"]),
        kind=str(file["kind"]),
        sha256=str(file["sha256"]),
        duration_s=number(file, "duration_s"),
        fps=number(file, "fps"),
        answer=data,
    )
