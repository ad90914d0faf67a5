"""Debian's chromium, headless, against the real stack: one for the tests of a file, each with a profile of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from bench.fixtures.videos import repeat_film
from tests.support.films import panning, write_video
from tests.support.stacks import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from deploy.stack.stack import Stack

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",  # it has none as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000.0

# Adds up how far things moved by themselves, as the browser's own measure of it does.
WATCH_SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def browser_arguments() -> list[str]:
    """The browser's command line; tests that need more replace it."""
    return ARGUMENTS


@pytest.fixture(scope="module")
def browser(browser_arguments: list[str]) -> Iterator[Browser]:
    """A browser per module: its thread has a running event loop, which would disturb other tests of the session."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=browser_arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser_process(browser: Browser) -> int:
    """The browser's pid; it starts and ends further processes."""
    result = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    (pid,) = [process["id"] for process in result["processInfo"] if process["type"] == "browser"]
    return int(pid)


@pytest.fixture
def screen() -> dict[str, int]:
    """Size of the window in pixels; tests of other sizes replace it."""
    return {"width": 1280, "height": 860}


@pytest.fixture
def scripted() -> bool:
    """True if the browser runs JavaScript."""
    return True


@pytest.fixture
def context(browser: Browser, stack: Stack, screen: dict[str, int], scripted: bool) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=stack.url, viewport=screen, java_script_enabled=scripted)
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(WATCH_SHIFTS)
    yield context
    context.close()


@pytest.fixture
def pan(tmp_path: Path) -> Path:
    """Two seconds of a camera that pans left."""
    return write_video(tmp_path / "panning left.mp4", panning(60, 320, 240, step=3, seed=3))


@pytest.fixture
def long_pan(tmp_path: Path) -> Path:
    """Five minutes of a camera that pans left slowly, again and again: long enough to see progress."""
    part = write_video(tmp_path / "part.mp4", panning(900, 320, 240, step=1, seed=5), options={"preset": "ultrafast"})
    repeat_film(tmp_path / "a long pan.mp4", part.read_bytes(), seconds=300)
    part.unlink()
    return tmp_path / "a long pan.mp4"


@pytest.fixture
def idle_worker(stack: Stack) -> Iterator[None]:
    """Stop the job worker, so that jobs wait in the queue."""
    stack.supervisorctl("stop", "jobs")
    yield
    stack.supervisorctl("start", "jobs")


@pytest.fixture
def no_jobs(stack: Stack) -> None:
    """Remove all jobs, so that the page shows only those of this test."""
    with httpx.Client(base_url=stack.url, timeout=10) as client:

        def left() -> list[str]:
            return [job["id"] for job in client.get("/v1/jobs?limit=500").json()["jobs"]]

        def removed() -> bool:
            for job in left():
                client.delete(f"/v1/jobs/{job}")
            return not left()

        until(removed, patience_s=20)


@pytest.fixture
def page(context: BrowserContext, no_jobs: None) -> Iterator[Page]:
    """The page, opened; the test fails when its script or its policy (CSP) complained."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto("/")
    if page.evaluate("matchMedia('(scripting: enabled)').matches"):
        page.wait_for_selector("[data-started]")
    yield page
    # A refused upload is also reported as a failed load: that is not the page's fault.
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []
