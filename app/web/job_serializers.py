"""The JSON representation of a job."""

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from app.inference.decision import decision_json
from app.jobs.storage.records import JobSpec, JobState

PARAMETERS = ("hop_s", "window_s", "margin", "top_k", "min_score", "labels", "exclude", "embedding")


def record_json(spec: JobSpec, state: JobState, position: int | None = None, *, brief: bool = False) -> dict[str, Any]:
    """Return the record of a job; `brief` leaves its timeline out."""
    fields = asdict(spec) | asdict(state)
    home = f"/v1/jobs/{spec.id}"
    timeline = None if brief else _timeline_json(fields["timeline"], home)
    return {
        "id": spec.id,
        "state": state.state,
        "created": spec.created,
        "started": state.started,
        "finished": state.finished,
        "name": spec.name,
        "bytes": state.fetched_bytes or spec.bytes,
        "url": spec.url.partition("?")[0] or None,  # a query may hold secrets
        "results": spec.results_url or None,
        "model": spec.model,
        "model_version": state.model_version,
        "parameters": {name: fields[name] for name in PARAMETERS},
        "callback_url": spec.callback_url or None,
        "progress": {name: fields[name] for name in ("percent", "windows_done", "windows", "eta_s")}
        | {"position": position},
        "tries": state.tries,
        "cache": state.cache,
        "error": state.error,
        "result": _result(fields["timeline"]) if state.state == "done" else None,
        "timing_s": state.timing_s,
        "near_duplicates": state.near_duplicates,
        "media": fields["media"] and fields["media"] | {"name": spec.name},
        "timeline": timeline,
        "links": {"self": home} | {name: f"{home}/{name}" for name in ("events", "timeline", "source")},
    }


def _timeline_json(timeline: dict[str, Any] | None, home: str) -> dict[str, Any] | None:
    """Return the timeline with its decision, and with links to its thumbnails in place of their times."""
    if timeline is None:
        return None
    result: dict[str, Any] = {"scores": "softmax", "thresholds": None}
    result |= {name: value for name, value in timeline.items() if name != "pictures_s"}
    result["decision"] = decision_json(list(_seconds(timeline["segments"])))
    result["thumbnails"] = [
        {"time_s": time_s, "url": f"{home}/thumbnails/{number}.jpg"}
        for number, time_s in enumerate(timeline["pictures_s"])
    ]
    return result


def _result(timeline: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the label with the longest total time and its share of the video; None if no label has a segment."""
    if timeline is None or not timeline["segments"]:
        return None
    label, seconds = next(iter(_seconds(timeline["segments"]).items()))
    return {"label": label, "share": round(min(1.0, seconds / (timeline["duration_s"] or 1.0)), 4)}


def _seconds(segments: list[dict[str, Any]]) -> dict[str, float]:
    """Return the total time of each label that has a segment, seconds, the longest first."""
    seconds = defaultdict[str, float](float)
    for segment in segments:
        seconds[segment["label"]] += segment["end_s"] - segment["start_s"]
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))
