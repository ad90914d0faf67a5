"""Parsers of the service's JSON; every one raises KeyError, TypeError or ValueError for invalid data."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .jobs import Job, JobProgress, Segment, Timeline, Window
from .models import Clip, Match, Media, Model, Prediction, Result, SearchResult, Sent

T = TypeVar("T")


def parse_result(data: Mapping[str, Any], cache: str | None = None) -> Result:
    """Parse an answer of `/v1/classify`."""
    sent = data.get("sent")
    return Result(
        request_id=str(data["request_id"]),
        model=str(data["model"]),
        model_version=str(data["model_version"]),
        precision=_optional(str, data.get("precision")),
        transport=str(data["transport"]),
        predictions=tuple(parse_prediction(prediction) for prediction in data["predictions"]),
        media=parse_media(data["media"]),
        clips=tuple(_parse_clip(clip) for clip in data["clips"]),
        timing_ms={str(stage): float(ms) for stage, ms in data["timing_ms"].items()},
        warnings=tuple(str(warning) for warning in data.get("warnings", ())),
        cache=cache,
        sent=None if sent is None else Sent(**sent),
        thumbnails=tuple(base64.b64decode(uri.partition(",")[2], validate=True) for uri in data.get("thumbnails", ())),
        answer=data,
        decision=_parse_decision(data),
        embedding=tuple(float(number) for number in data.get("embedding", ())),
    )


def parse_search(data: Mapping[str, Any]) -> SearchResult:
    """Parse an answer of `/v1/search`."""
    return SearchResult(
        model=str(data["model"]),
        model_version=str(data["model_version"]),
        matches=tuple(
            Match(
                job=str(match["job"]),
                name=str(match["name"]),
                window=int(match["window"]),
                start_s=float(match["start_s"]),
                end_s=float(match["end_s"]),
                similarity=float(match["similarity"]),
                label=_optional(str, match.get("label")),
                score=float(match["score"]),
            )
            for match in data["matches"]
        ),
        jobs=int(data["searched"]["jobs"]),
        windows=int(data["searched"]["windows"]),
        answer=data,
    )


def parse_model(data: Mapping[str, Any]) -> Model:
    """Parse one entry of `/v1/models`."""
    return Model(
        name=str(data["name"]),
        version=str(data["version"]),
        kind=str(data["kind"]),
        labels=tuple(str(label) for label in data["labels"]),
        frames=int(data["frames"]),
        stride=_optional(int, data.get("stride")),
        fps=_optional(float, data.get("fps")),
        resize=int(data["resize"]),
        crop=int(data["crop"]),
        default=bool(data.get("default", False)),
        precision=_optional(str, data.get("precision")),
        title=str(data.get("title") or data["name"]),
        description=str(data.get("description", "")),
        examples=tuple(str(label) for label in data.get("examples", ())),
        default_for=tuple(str(kind) for kind in data.get("default_for", ())),
        scores=str(data.get("scores", "softmax")),
        thresholds=tuple(float(threshold) for threshold in data.get("thresholds") or ()),
        embedding_size=int(data.get("embedding_size", 0)),
    )


def parse_prediction(data: Mapping[str, Any]) -> Prediction:
    """Parse one prediction."""
    return Prediction(str(data["label"]), float(data["score"]))


def _parse_decision(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Parse the field `decision`; older services, which lack it, decide for the best label."""
    decision = data.get("decision", [prediction["label"] for prediction in data["predictions"][:1]])
    return () if decision == "none" else tuple(str(label) for label in decision)


def parse_media(data: Mapping[str, Any]) -> Media:
    """Parse the field `media`."""
    return Media(
        kind=str(data["kind"]),
        container=str(data["container"]),
        codec=str(data["codec"]),
        width=int(data["width"]),
        height=int(data["height"]),
        rotation=int(data.get("rotation") or 0),
        duration_s=_optional(float, data.get("duration_s")),
        fps=_optional(float, data.get("fps")),
        frames=_optional(int, data.get("frames")),
        bytes=int(data["bytes"]),
        name=str(data.get("name") or ""),
        truncated=bool(data.get("truncated", False)),
        mirrored=bool(data.get("mirrored", False)),
    )


def _parse_clip(data: Mapping[str, Any]) -> Clip:
    return Clip(
        start_s=float(data["start_s"]),
        end_s=float(data["end_s"]),
        frames=tuple(int(frame) for frame in data["frames"]),
        times_s=tuple(float(time) for time in data["times_s"]),
        padded=bool(data["padded"]),
    )


def _optional(kind: Callable[[Any], T], value: Any) -> T | None:
    """Return the value converted by `kind`, or None if it is None."""
    return None if value is None else kind(value)


def parse_job(data: Mapping[str, Any]) -> Job:
    """Parse a record."""
    progress = data["progress"]
    error = data.get("error")
    return Job(
        id=str(data["id"]),
        state=str(data["state"]),
        created=str(data["created"]),
        finished=_optional(str, data.get("finished")),
        name=str(data.get("name") or ""),
        bytes=int(data["bytes"]),
        model=str(data["model"]),
        model_version=_optional(str, data.get("model_version")),
        progress=JobProgress(
            percent=float(progress["percent"]),
            windows_done=int(progress["windows_done"]),
            windows=_optional(int, progress.get("windows")),
            eta_s=_optional(float, progress.get("eta_s")),
            position=_optional(int, progress.get("position")),
        ),
        tries=int(data.get("tries", 1)),
        cache=_optional(str, data.get("cache")),
        error=None if error is None else (str(error["code"]), str(error["message"])),
        result=_optional(_parse_result, data.get("result")),
        timing_s={str(stage): float(s) for stage, s in (data.get("timing_s") or {}).items() if s is not None},
        media=_optional(parse_media, data.get("media")),
        timeline=_optional(_parse_timeline, data.get("timeline")),
        near_duplicates=tuple(str(id) for id in data.get("near_duplicates") or ()),
        answer=data,
    )


def _parse_result(data: Mapping[str, Any]) -> tuple[str, float]:
    return str(data["label"]), float(data["share"])


def _parse_timeline(data: Mapping[str, Any]) -> Timeline:
    return Timeline(
        duration_s=float(data["duration_s"]),
        complete_to_s=float(data["complete_to_s"]),
        window_s=float(data["window_s"]),
        hop_s=float(data["hop_s"]),
        margin=float(data["margin"]),
        labels=tuple(str(label) for label in data["labels"]),
        segments=tuple(
            Segment(float(s["start_s"]), float(s["end_s"]), str(s["label"]), float(s["score"]))
            for s in data["segments"]
        ),
        cuts_s=tuple(float(time) for time in data["cuts_s"]),
        windows=tuple(_parse_window(window) for window in data.get("windows") or ()),
        scores=str(data.get("scores", "softmax")),
    )


def _parse_window(data: Mapping[str, Any]) -> Window:
    return Window(
        start_s=float(data["start_s"]),
        end_s=float(data["end_s"]),
        padded=bool(data["padded"]),
        predictions=tuple(parse_prediction(prediction) for prediction in data["predictions"]),
        decision=_parse_decision(data),
    )
