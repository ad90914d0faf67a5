"""The JSON representation of a job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from app.jobs.storage.store import JobSpec, JobState


def record_json(
    asked: JobSpec, progress: JobState, position: int | None = None, *, brief: bool = False
) -> dict[str, Any]:
    """Return the record of a job; `brief` leaves its timeline out."""
    state = asdict(progress)
    home = f"/v1/jobs/{asked.id}"
    timeline = None if brief else _timeline_json(state["timeline"], home)
    return {
        "id": asked.id,
        "state": progress.state,
        "created": asked.created,
        "started": progress.started,
        "finished": progress.finished,
        "name": asked.name,
        "bytes": asked.bytes,
        "model": asked.model,
        "model_version": progress.model_version,
        "parameters": {
            "hop_s": asked.hop_s, "window_s": asked.window_s, "margin": asked.margin, "top_k": asked.top_k,
        },
        "progress": {
            "percent": progress.percent, "windows_done": progress.windows_done, "windows": progress.windows,
            "eta_s": progress.eta_s, "position": position,
        },
        "tries": progress.tries,
        "cache": progress.cache,
        "error": progress.error,
        "timing_s": progress.timing_s,
        "media": state["media"] and state["media"] | {"name": asked.name},
        "timeline": timeline,
        "links": {
            "self": home, "events": f"{home}/events", "timeline": f"{home}/timeline", "source": f"{home}/source",
        },
    }  # fmt: skip


def _timeline_json(timeline: dict[str, Any] | None, home: str) -> dict[str, Any] | None:
    """Return the timeline with links to its thumbnails in place of their times."""
    if timeline is None:
        return None
    result = {name: value for name, value in timeline.items() if name != "pictures_s"}
    result["thumbnails"] = [
        {"time_s": time_s, "url": f"{home}/thumbnails/{number}.jpg"}
        for number, time_s in enumerate(timeline["pictures_s"])
    ]
    return result
