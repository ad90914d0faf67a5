"""No URL makes the service connect to a private address: packets are watched in a network namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT
from tests.e2e.fetch.hostile_urls import HOSTILE, JOBS
from tests.e2e.fetch.private_network import no_namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or bool(no_namespace()), reason=no_namespace() or "needs root")


@pytest.fixture(scope="module")
def run() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.e2e.fetch.hostile_run", name]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=170)
        assert done.returncode == 0, done.stderr[-3000:]
        yield json.loads((folder / "result.json").read_text())


def test_controls_are_answered(run: dict[str, Any]) -> None:
    assert [answer["status"] for answer in run["controls"].values()] == [200, 200]
    assert [answer["media"]["name"] for answer in run["controls"].values()] == ["clip.mp4", "redirect"]


def test_no_connection_reaches_a_private_address(run: dict[str, Any]) -> None:
    assert len(HOSTILE) >= 60
    assert run["arrived"] == []
    assert run["packets"] == []


@pytest.mark.parametrize("url", HOSTILE)
def test_each_is_refused_clearly(run: dict[str, Any], url: str) -> None:
    answer = run["answers"][url]
    assert (answer["status"], answer["error"]["code"]) == HOSTILE[url]
    assert len(answer["error"]["message"]) > 20


@pytest.mark.parametrize("url", JOBS)
def test_jobs_are_refused_the_same_way(run: dict[str, Any], url: str) -> None:
    assert run["jobs"][url] == JOBS[url]


def test_names_are_resolved_once_for_each_connection(run: dict[str, Any]) -> None:
    assert run["queries"]["changes.example"] == 2  # the second connection is that of the redirect
    assert run["queries"]["loopback.example"] == 5  # by a URL, two redirects, and a URL and a redirect of jobs


def test_no_file_remains_and_logs_have_no_paths(run: dict[str, Any]) -> None:
    assert run["left"] == []
    assert "http://public.example source_status" in run["log"] and "/status/404" not in run["log"]
