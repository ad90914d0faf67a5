"""The page at /docs through nginx: under the policy of all pages, and every command on it does what it says."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.movements import film_movement
from tests.support.page_commands import run
from tests.support.stacks import until

if TYPE_CHECKING:
    from deploy.stack.stack import Stack


@pytest.fixture
def page(stack: Stack) -> httpx.Response:
    return httpx.get(f"{stack.url}/docs", timeout=20)


def test_its_style_comes_from_here_and_nothing_else_is_asked_for(stack: Stack, page: httpx.Response) -> None:
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    fetched = re.findall(r'<(?:link|img)[^>]*(?:href|src)="([^"]+)"', page.text)
    assert any("docs.css" in address for address in fetched)
    assert [httpx.get(stack.url + address, timeout=20).status_code for address in fetched] == [200] * len(fetched)


def test_every_command_works(stack: Stack, page: httpx.Response, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    film_movement(tmp_path / "clip.mp4", "pan_left")
    blocks = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page.text, re.S)
    texts = [unescape(re.sub("<[^>]+>", "", block)).removeprefix("$ ") for block in blocks]
    commands = [text for text in texts if text.startswith("curl ")]
    assert len(commands) == 15 and len(texts) == len(commands) + 2  # and two of JSON
    job = json.loads(run(stack, commands[3], tmp_path))["id"]
    until(lambda: _state(stack, job) == "done", patience_s=60)
    removing = [command for command in commands if "-X DELETE" in command]
    for command in [command for command in commands if command not in removing] + removing:
        out = run(stack, command.replace(" -sS ", " -sS --fail "), tmp_path, JOB=job)
        for picked in re.findall(r"-o (\S+)", command):
            assert (tmp_path / picked).stat().st_size > 500
            (tmp_path / picked).unlink()
        if "-X POST" in command and "classify" in command:
            assert json.loads(out)["predictions"][0]["label"] == "pan_left"
        elif command.endswith('/events"'):
            assert "event: end" in out
        elif "-o " not in command:
            assert json.loads(out)
    assert httpx.get(f"{stack.url}/v1/jobs/{job}", timeout=20).status_code == 404
    run(stack, "clipstack jobs remove --ended", tmp_path)


def _state(stack: Stack, job: str) -> str:
    told: str = httpx.get(f"{stack.url}/v1/jobs/{job}", timeout=20).json()["state"]
    return told
