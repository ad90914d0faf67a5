"""Regression test of fuzzing: every file of findings/ is sent in every form."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.nightly.fuzz.response_checks import Reply, ResponseChecker
from tests.support.job_requests import wait_for_job
from triton_repo.zoo.names import BUILT_IN

FINDINGS = sorted((Path(__file__).parent / "findings").iterdir())
PATIENCE_S = 30.0


def reply(answer: httpx.Response) -> Reply:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(answer.status_code, headers, answer.content, answer.elapsed.total_seconds())


@pytest.mark.parametrize("model", BUILT_IN)
@pytest.mark.parametrize("file", FINDINGS, ids=lambda path: path.stem)
def test_answer_matches_the_api_description(fuzzed: Stack, file: Path, model: str) -> None:
    checker = ResponseChecker(fuzzed.settings, "/v1/classify", PATIENCE_S)
    answer = httpx.post(
        f"{fuzzed.url}/v1/classify", params={"model": model, "clips": "2"}, content=file.read_bytes(), timeout=60
    )
    assert checker.faults(reply(answer)) == []


@pytest.mark.parametrize("file", FINDINGS, ids=lambda path: path.stem)
def test_job_ends_without_internal_error(fuzzed: Stack, file: Path) -> None:
    checker = ResponseChecker(fuzzed.settings, "/v1/jobs", PATIENCE_S)
    with httpx.Client(base_url=fuzzed.url, timeout=60) as http:
        answer = http.post("/v1/jobs", params={"hop_s": "0.1"}, content=file.read_bytes())
        assert checker.faults(reply(answer)) == []
        if answer.status_code == 202:
            job = wait_for_job(http, answer.json()["id"])
            assert job["state"] == "done" or job["error"]["code"] not in ("internal", "unavailable"), job["error"]
            http.delete(f"/v1/jobs/{job['id']}")
