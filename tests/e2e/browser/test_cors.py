"""A web application of another origin, in a browser: it can use the API only if its origin is listed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.stack.stack import Stack
from tests.e2e.browser.conftest import ARGUMENTS
from tests.e2e.conftest import LISTED_ORIGIN
from tests.support.api_keys import new_key

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OTHER_ORIGIN = "http://other.example"
PAGE = b'<!doctype html><title>An application</title><input type="file">'
# Uploads the chosen file with the key; resolves with what the script can read
UPLOAD = """async ([url, key]) => {
  const body = new FormData();
  body.append("file", document.querySelector("input").files[0]);
  const headers = key ? { Authorization: `Bearer ${key}` } : { "X-File-Name": "x" };
  try {
    const response = await fetch(url, { method: "POST", body, headers });
    const { predictions, error } = await response.json();
    return [response.status, predictions?.[0].label ?? error.code, response.headers.get("X-Request-Id")?.length ?? 0];
  } catch (error) { return [0, "failed", 0]; }
}"""


@pytest.fixture(scope="session")
def stack(configured_stack: Stack) -> Stack:
    return configured_stack


@pytest.fixture(scope="module")
def application_port() -> Iterator[int]:
    """Port of a web server with one page, of which the browser believes that it has both origins."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(10)


@pytest.fixture(scope="module")
def browser_arguments(application_port: int) -> list[str]:
    names = [origin.removeprefix("http://") for origin in (LISTED_ORIGIN, OTHER_ORIGIN)]
    rules = ",".join(f"MAP {name}:80 127.0.0.1:{application_port}" for name in names)
    return [*ARGUMENTS, f"--host-resolver-rules={rules}"]


@pytest.fixture
def application(browser: Browser, pan: Path, origin: str) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{origin}/")
    page.set_input_files("input", pan)
    yield page
    context.close()


@pytest.mark.parametrize("origin", [LISTED_ORIGIN])
def test_listed_origin_uploads_with_a_key(application: Page, stack: Stack, origin: str) -> None:
    url, key = f"{stack.url}/v1/classify", new_key(stack, "an application")
    assert application.evaluate(UPLOAD, [url, key]) == [200, "pan_left", 32]
    assert application.evaluate(UPLOAD, [url, ""]) == [401, "unauthorized", 32]
    assert application.evaluate(UPLOAD, [f"{url}?topk=1", key]) == [400, "invalid_parameter", 32]


@pytest.mark.parametrize("origin", [OTHER_ORIGIN])
def test_an_application_of_another_origin_cannot(application: Page, stack: Stack, origin: str) -> None:
    url, key = f"{stack.url}/v1/classify", new_key(stack, "another application")
    assert application.evaluate(UPLOAD, [url, key]) == [0, "failed", 0]
