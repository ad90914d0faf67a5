"""The jobs of the recorded service: each read advances a job by one step."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import unquote

LABELS = ("static", "pan_left", "zoom_in")
SEGMENTS = [
    {"start_s": 0.0, "end_s": 3.25, "label": "static", "score": 0.91},
    {"start_s": 3.25, "end_s": 7.5, "label": "pan_left", "score": 0.97},
    {"start_s": 7.5, "end_s": 10.0, "label": "zoom_in", "score": 0.62},
]
WINDOWS = [
    {
        "start_s": 0.25 * n,
        "end_s": 0.25 * n + 0.933,
        "padded": n == 36,
        "predictions": [{"label": "static", "score": 0.9}],
    }
    for n in range(37)
]
PAGE = 20  # windows
# Percent done at each read; None is a job that waits in the queue.
STEPS = (None, 20.0, 45.0, 70.0, 100.0)
BROKEN = b"broken"
EXPORTS = {
    "json": (b'{"segments": []}', "application/json"),
    "csv": (b"start_s,end_s,label,score\n0.0,3.25,static,0.91\n", "text/csv"),
    "vtt": (b"WEBVTT\n\n00:00.000 --> 00:03.250\nstatic\n", "text/vtt"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
    "png": (b"\x89PNG\r\n\x1a\n", "image/png"),
}
Events = Literal["whole", "torn", "silent", "refused", "gone"]


class Refused(Exception):
    """A refused request: status, code."""


class RecordedJobs:
    """The service's jobs; `held` stops them at the second step.

    `events` says how streams go: to the end, torn after each event, open without one, refused, or not there at all.
    """

    def __init__(self, media: dict[str, Any]) -> None:
        self.held = False
        self.events: Events = "whole"
        self.streams = 0
        self._media = media
        self._jobs: dict[str, _Job] = {}
        self._made = 0
        self._keys: dict[str, tuple[str, object]] = {}
        self._lock = threading.Lock()

    def add(self, body: bytes, name: str, query: dict[str, str], key: str | None) -> tuple[bool, dict[str, Any]]:
        """Add a job; return whether it is new, and its record."""
        same = (len(body), tuple(sorted(query.items())))
        with self._lock:
            if key is not None and key in self._keys:
                id, before = self._keys[key]
                if before != same:
                    raise Refused(409, "idempotency_conflict")
                return False, self._jobs[id].record()
            id = f"{self._made:08x}9f3a1c0b7d2e4f5a"
            self._made += 1
            self._jobs[id] = _Job(id, body, unquote(name), query, self._media)
            if key is not None:
                self._keys[key] = (id, same)
            return True, self._jobs[id].record()

    def records(self, limit: int, state: str = "all", cursor: str = "") -> list[dict[str, Any]]:
        """Return the newest jobs, or those after the job `cursor`."""
        jobs = [job.record() for job in reversed(self._jobs.values())]
        ids = [f"{job['created']}~{job['id']}" for job in jobs]
        jobs = jobs[ids.index(cursor) + 1 if cursor else 0 :]
        jobs = [job for job in jobs if state in ("all", job["state"])]
        return [{name: value for name, value in record.items() if name != "timeline"} for record in jobs[:limit]]

    def look(self, id: str, offset: int | None = None) -> dict[str, Any]:
        """Return the record after one more step, with a page of windows from `offset` on."""
        job = self._job(id)
        for _ in range(1 if self.events in ("whole", "torn") else len(STEPS)):  # steps between are not visible
            job.advance(2 if self.held else len(STEPS) - 1)
        return job.record(offset)

    def export(self, id: str, format: str) -> tuple[bytes, str]:
        if self._job(id).record()["timeline"] is None:
            raise Refused(409, "not_ready_yet")
        return EXPORTS[format]

    def delete(self, id: str) -> dict[str, Any]:
        job = self._job(id)
        if job.ended:
            del self._jobs[id]
            return {"id": id, "state": "removed"}
        job.cancelled = True
        return job.record()

    def stream(self, id: str) -> Iterator[bytes]:
        """Return the lines of an event stream; raises Refused at once for an unknown job."""
        self._job(id)
        self.streams += 1
        return self._lines(id)

    def _lines(self, id: str) -> Iterator[bytes]:
        yield b": here\n\nretry: 500\n\n"
        if self.events == "silent":
            return
        while True:
            record = self.look(id)
            name = "end" if self._job(id).ended else "progress"
            yield f"event: {name}\ndata: {json.dumps(record)}\n\n".encode()
            if name == "end" or self.events == "torn":
                return
            time.sleep(0.01)  # like the service, so that a held job does not flood its listener

    def _job(self, id: str) -> _Job:
        if id not in self._jobs:
            raise Refused(404, "job_not_found")
        return self._jobs[id]


def _page(offset: int) -> dict[str, Any]:
    end = offset + PAGE
    return {"windows": WINDOWS[offset:end], "next_offset": end if end < len(WINDOWS) else None}


class _Job:
    def __init__(self, id: str, body: bytes, name: str, query: dict[str, str], media: dict[str, Any]) -> None:
        self._id, self._name, self._query = id, name, query
        self._media = {**media, "bytes": len(body), "name": name}
        self._broken = BROKEN in body
        self._step = 0
        self.cancelled = False

    @property
    def ended(self) -> bool:
        return self.cancelled or self._step == len(STEPS) - 1

    def advance(self, most: int) -> None:
        if not self.cancelled:
            self._step = min(self._step + 1, most)

    def record(self, offset: int | None = None) -> dict[str, Any]:
        percent = STEPS[self._step]
        state = "queued" if percent is None else "done" if self.ended else "running"
        state = "cancelled" if self.cancelled else "failed" if state == "done" and self._broken else state
        percent = percent or 0.0
        parameters = {"hop_s": None, "window_s": None, "margin": 0.1, "top_k": 5}
        parameters |= {name: float(value) for name, value in self._query.items() if name in parameters}
        started = None if state == "queued" else "2026-11-21T12:15:00.523Z"
        error = {"code": "undecodable", "message": "the file is damaged and cannot be decoded"}
        timing = {"queued": 0.1, "running": 4.2, "decode": 3.9, "infer": 2.0} if state == "done" else {"queued": 0.1}
        return {
            "id": self._id,
            "state": state,
            "created": "2026-11-21T12:15:00.123Z",
            "started": started,
            "finished": "2026-11-21T12:15:04.723Z" if self.ended else None,
            "name": self._name,
            "bytes": self._media["bytes"],
            "model": "camera_motion",
            "model_version": None if started is None else "1",
            "parameters": parameters,
            "progress": {
                "percent": percent,
                "windows_done": round(0.37 * percent),
                "windows": 37 if started else None,
                "eta_s": round((100 - percent) / 20, 1) if state == "running" else None,
                "position": 2 if state == "queued" else None,
            },
            "tries": 1,
            "cache": "miss" if state == "done" else None,
            "error": error if state == "failed" else None,
            "result": {"label": "pan_left", "share": 0.425} if state == "done" else None,
            "timing_s": timing,
            "media": None if started is None else self._media,
            "timeline": self._timeline(percent, offset) if percent and state in ("running", "done") else None,
            "links": {
                "self": f"/v1/jobs/{self._id}",
                "events": f"/v1/jobs/{self._id}/events",
                "timeline": f"/v1/jobs/{self._id}/timeline",
                "source": f"/v1/jobs/{self._id}/source",
            },
        }

    def _timeline(self, percent: float, offset: int | None) -> dict[str, Any]:
        end_s = percent / 10
        segments = copy.deepcopy([segment for segment in SEGMENTS if segment["start_s"] < end_s])  # type: ignore[operator]
        segments[-1]["end_s"] = min(float(segments[-1]["end_s"]), end_s)  # type: ignore[arg-type]
        return {
            "duration_s": 10.0,
            "complete_to_s": end_s,
            "window_s": 0.933,
            "hop_s": 0.25,
            "margin": 0.1,
            "labels": list(LABELS),
            "segments": segments,
            "cuts_s": [3.25] if end_s > 3.25 else [],
            "thumbnails": [{"time_s": 0.47, "url": f"/v1/jobs/{self._id}/thumbnails/0.jpg"}],
            **({} if offset is None else _page(offset)),
        }
