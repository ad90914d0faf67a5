"""The page at /status: right numbers, and accessible by keyboard, in dark mode and on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.browser.actions import serious_issues

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

    from deploy.stack.stack import Stack

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
TOTALS = {"ok": 0, "refused": 0, "failed": 0, "ends": 0, "seconds": {}, "stages": {}, "codes": {}}


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """The page at /status; fails if its script raised an error or its policy (CSP) was violated."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto("/status")
    page.wait_for_selector("[data-started]")
    yield page
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []


def call(page: Page, function: str, *arguments: Any) -> Any:
    """Call a function of status_series.js and return its result."""
    script = """async ([name, values]) => {
        const address = document.querySelector("script[type=module]").src.replace("status.js", "status_series.js");
        return (await import(address))[name](...values);
    }"""
    return page.evaluate(script, [function, list(arguments)])


def test_status_page_updates_with_each_request(stack: Stack, page: Page, pan: Path) -> None:
    expect(page.locator(".check").filter(has_text="camera_motion")).to_contain_text("version 1 is ready")
    expect(page.locator(".check").filter(has_text="Triton").first).to_have_attribute("data-state", "good")
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        for _ in range(3):
            assert client.post("/v1/classify", content=pan.read_bytes()).status_code == 200
        assert client.post("/v1/classify", content=b"this is no video" * 100).status_code == 415
    expect(page.locator(".check").first).to_contain_text("unsupported_media")
    infer = page.locator(".chart").filter(has_text="Time by stage").locator("li").filter(has_text="Infer")
    expect(infer.locator("b")).to_contain_text("ms")


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_status_page_is_accessible(page: Page) -> None:
    expect(page.locator(".chart")).to_have_count(4)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    assert serious_issues(page) == []
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert serious_issues(page) == []
    assert not page.evaluate(WIDER)
    # By the keyboard
    plot = page.locator(".plot").first
    plot.focus()
    expect(plot).to_have_attribute("aria-label", re_label("now"))
    page.keyboard.press("Home")
    expect(page.locator(".chart").first.locator(".moment")).to_contain_text("ago")
    expect(plot).to_have_attribute("aria-label", re_label("ago"))
    page.keyboard.press("Escape")
    expect(page.locator(".chart").first.locator(".moment")).to_have_text("now")


def re_label(word: str) -> re.Pattern[str]:
    return re.compile(f"^Requests per second, .*{word}: Answered ")


def test_unreachable_service_is_shown(page: Page) -> None:
    page.route("**/status.json*", lambda route: route.abort())
    page.reload()
    expect(page.locator("#verdict")).to_have_text("The service does not answer", timeout=20_000)
    page.unroute("**/status.json*")
    expect(page.locator("#verdict")).not_to_have_text("The service does not answer", timeout=20_000)


def test_rates_are_computed_as_by_prometheus(page: Page) -> None:
    # Counters that a restart reset continue
    totals = [10, 40, 5, 15]  # restarted after the second value
    points = [TOTALS | {"time": 5 * at, "ok": ok, "stages": {"infer": ok}} for at, ok in enumerate(totals)]
    going = call(page, "continued", points)
    assert [point["ok"] for point in going] == [10, 40, 45, 55]
    assert [point["stages"]["infer"] for point in going] == [10, 40, 45, 55]
    rates = call(page, "rates", going)
    assert rates[0] is None and rates[3]["ok"] == 3
    assert call(page, "lately", going, 300)["asked"] == 45
    # Without samples there is no rate
    points = [TOTALS | {"time": time, "ok": time} for time in (0, 5, 100, 105)]
    assert [rate and rate["ok"] for rate in call(page, "rates", points)] == [None, 1, None, 1]
    counts = {"0.1": 50, "0.2": 90, "1.0": 100, "+Inf": 100}
    assert call(page, "quantile", counts, 0.5) == pytest.approx(0.1)
    assert call(page, "quantile", counts, 0.99) == pytest.approx(0.92)
    assert call(page, "quantile", {"1.0": 0, "+Inf": 4}, 0.99) == 1
    assert call(page, "quantile", {"+Inf": 0}, 0.5) is None
