"""Submit jobs over HTTP and wait for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from deploy.stack.stack import Stack
from tests.support.stacks import until


def submit_job(http: httpx.Client, film: Path | bytes, **params: Any) -> dict[str, Any]:
    """Submit a job and return its record."""
    content, name = (film, "film") if isinstance(film, bytes) else (film.read_bytes(), film.name)
    answer = http.post("/v1/jobs", content=content, params=params, headers={"X-File-Name": name})
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == body["links"]["self"]
    return body


def wait_for_job(http: httpx.Client, identity: str, patience_s: float = 60) -> dict[str, Any]:
    """Wait until the job has ended and return its record with its windows."""

    def record(**params: str) -> dict[str, Any]:
        answer = http.get(f"/v1/jobs/{identity}", params=params)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    until(lambda: record()["state"] in ("done", "failed", "cancelled"), patience_s)
    return record(windows="true")


def windows_done(http: httpx.Client, identity: str) -> int:
    return int(http.get(f"/v1/jobs/{identity}").json()["progress"]["windows_done"])


def journal(stack: Stack, identity: str) -> Path:
    return stack.settings.data_dir / "jobs" / identity / "journal"
