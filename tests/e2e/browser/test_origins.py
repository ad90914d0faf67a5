"""Pages of other sites, in a browser that can reach the service: their requests change nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.e2e.browser.conftest import ARGUMENTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REBOUND = "attacker.example"
FORM = (
    """<form method="post" enctype="multipart/form-data"><input type="file" name="file"><button>Win</button></form>"""
)
# Resolves with the response type that the page sees: "opaque", or that the request failed
SEND = """async ([url, method, mode]) => {
  try {
    const answer = await fetch(url, { method, mode, body: method === "POST" ? "a video" : undefined });
    return `${answer.type} ${answer.status}`;
  } catch (error) { return "failed"; }
}"""


@pytest.fixture(scope="module")
def browser_arguments() -> list[str]:
    return [*ARGUMENTS, f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"]


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    """Port of a web server with a page that is not ours."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(FORM)))
            self.end_headers()
            self.wfile.write(FORM.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(10)


@pytest.fixture
def foreign_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def job(stack: Stack, idle_worker: None, no_jobs: None, pan: Path) -> str:
    """The only job, waiting in the queue."""
    answer = httpx.post(f"{stack.url}/v1/jobs", content=pan.read_bytes(), timeout=30)
    return str(answer.json()["id"])


def jobs(stack: Stack) -> list[str]:
    return [job["id"] for job in httpx.get(f"{stack.url}/v1/jobs", timeout=30).json()["jobs"]]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", REBOUND])
def test_a_page_of_another_site_changes_nothing(
    stack: Stack, foreign_page: Page, foreign_port: int, job: str, pan: Path, name: str
) -> None:
    foreign_page.goto(f"http://{name}:{foreign_port}/")
    statuses: list[int] = []
    foreign_page.on("response", lambda answer: statuses.append(answer.status) if stack.url in answer.url else None)
    for path, method in (("/v1/jobs", "POST"), ("/v1/classify", "POST"), ("/", "POST"), (f"/v1/jobs/{job}", "DELETE")):
        for mode in ("no-cors", "cors"):
            output = foreign_page.evaluate(SEND, [stack.url + path, method, mode])
            assert output in ("opaque 0", "failed"), "the answer cannot be read"
    for path in ("/v1/jobs", "/"):
        foreign_page.goto(f"http://{name}:{foreign_port}/")
        foreign_page.eval_on_selector("form", "(form, url) => { form.action = url; }", stack.url + path)
        foreign_page.set_input_files("input", pan)
        with foreign_page.expect_navigation():
            foreign_page.get_by_role("button", name="Win").click()
        assert "cross_site" in foreign_page.content()
    assert set(statuses) == {403}
    assert jobs(stack) == [job]


def test_dns_rebinding_is_refused(stack: Stack, foreign_page: Page, job: str) -> None:
    origin = f"http://{REBOUND}:{stack.settings.port}"
    answer = foreign_page.goto(f"{origin}/")
    assert answer is not None and answer.status == 421
    for path, method in (("/v1/jobs", "GET"), ("/v1/jobs", "POST"), (f"/v1/jobs/{job}", "DELETE"), ("/metrics", "GET")):
        assert foreign_page.evaluate(SEND, [origin + path, method, "same-origin"]) == "basic 421"
    assert jobs(stack) == [job]
