"""The description of the API and its viewer, through nginx: neither needs a key, and every code sample works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.openapi.samples import JOB_ID
from deploy.stack.stack import Stack
from tests.support.job_requests import wait_for_job
from tests.support.movements import film_movement

RUN: dict[str, Callable[[str], list[str]]] = {
    "Shell": lambda source: ["bash", "-ec", source.replace("curl -sS", "curl -sS --fail")],
    "Python": lambda source: [sys.executable, "-c", source],
    "JavaScript": lambda source: ["node", "--input-type=module", "--eval", source],
}
# Need settings or ids of their own: tests/e2e/test_feedback.py, test_webhooks.py, resumable
ELSEWHERE = frozenset({"Feedback", "Webhooks", "Uploads"})
PROGRAMS = {"Shell": "curl", "Python": sys.executable, "JavaScript": "node"}


def samples(stack: Stack, language: str) -> dict[str, str]:
    """The samples in one language, by operation."""
    paths = httpx.get(f"{stack.url}/v1/openapi.json", timeout=20).json()["paths"]
    return {
        operation["operationId"]: sample["source"]
        for methods in paths.values()
        for operation in methods.values()
        for sample in operation["x-codeSamples"]
        if sample["lang"] == language and not ELSEWHERE.intersection(operation["tags"])
    }


@pytest.mark.parametrize(("language", "count"), [("Shell", 14), ("Python", 9), ("JavaScript", 9)])
def test_every_sample_works(stack: Stack, tmp_path: Path, language: str, count: int) -> None:
    if not shutil.which(PROGRAMS[language]):
        pytest.skip(f"{PROGRAMS[language]} is not installed")
    film_movement(tmp_path / "clip.mp4", "pan_left")
    shutil.copy(tmp_path / "clip.mp4", tmp_path / "film.mp4")
    todo = samples(stack, language)
    assert len(todo) == count

    def run(name: str, job: str = "") -> str:
        command = RUN[language](todo.pop(name).replace(JOB_ID, job))
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return done.stdout

    job = re.findall(r"\b[0-9a-f]{24}\b", run("submit_job"))[0]
    with httpx.Client(base_url=stack.url, timeout=20) as http:
        wait_for_job(http, job)
        assert "pan_left" in run("classify") and "pan_left" in run("get_timeline", job)
        assert job in run("list_jobs") and "camera_motion" in run("list_models") and "done" in run("get_job", job)
        for name in sorted(todo.keys() - {"delete_job"}):
            printed = run(name, job)
            assert printed or any((tmp_path / file).exists() for file in ("frame.jpg", "film.mp4")), name
        run("delete_job", job)
        assert todo == {} and http.get(f"/v1/jobs/{job}").status_code == 404


def test_docs_viewer_has_its_own_policy(stack: Stack) -> None:
    page = httpx.get(f"{stack.url}/docs", timeout=20)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy and "connect-src 'self'" in policy
    assert page.headers.get_list("Content-Security-Policy") == [policy]
    addresses = re.findall(r'<(?:link|script|img)[^>]*(?:href|src)="([^"]+)"', page.text)
    answers = [httpx.get(stack.url + address, timeout=20) for address in addresses]
    assert [answer.status_code for answer in answers] == [200] * 5
    (viewer,) = [answer for answer in answers if "scalar" in answer.url.path]
    assert viewer.headers["Content-Type"].startswith("text/javascript") and viewer.headers["Content-Encoding"] == "gzip"
