"""axe-core finds nothing serious: in light and dark, on a desktop and on a phone, in every state of the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.e2e.browser.actions import choose, row, serious_issues

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
looks = pytest.mark.parametrize(
    ("screen", "scheme"),
    [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")],
    ids=["desktop-light", "desktop-dark", "phone-light", "phone-dark"],
)


def check(page: Page, scheme: str) -> None:
    """Check that there is no serious issue, and nothing wider than the screen."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    assert serious_issues(page) == []
    assert not page.evaluate(WIDER)


@looks
def test_empty_queue_answer_and_errors(page: Page, idle_worker, stack, pan: Path, tmp_path: Path, scheme: str) -> None:
    check(page, scheme)
    (tmp_path / "notes.mp4").write_text("this is no video\n" * 100)
    choose(page, pan, tmp_path / "notes.mp4")
    expect(row(page, pan.name, "queued")).to_be_visible()
    expect(row(page, "notes.mp4", "failed")).to_be_visible()
    check(page, scheme)
    stack.supervisorctl("start", "jobs")
    expect(row(page, pan.name, "done")).to_be_visible()
    page.locator(".track").hover(position={"x": 40, "y": 30})
    expect(page.locator(".scores")).to_be_visible()
    check(page, scheme)
    row(page, "notes.mp4").locator(".row-open").click()
    expect(page.locator(".problem")).to_be_visible()
    check(page, scheme)


@looks
def test_picture_earlier_job_notice_and_question(page: Page, pan: Path, tmp_path: Path, scheme: str) -> None:
    Image.effect_noise((320, 240), 60).convert("RGB").save(tmp_path / "noise.png")
    choose(page, pan, tmp_path / "noise.png")
    expect(row(page, pan.name, "done")).to_be_visible()
    expect(row(page, "noise.png", "done")).to_be_visible()
    row(page, "noise.png").locator(".row-open").click()
    check(page, scheme)
    page.goto("/#ffffffffffffffffffffffff")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("This video is no longer here")
    expect(page.locator("#history-card .row")).to_have_count(1)
    check(page, scheme)
    page.get_by_role("button", name=f"Delete: {pan.name}").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page, scheme)


@pytest.mark.parametrize("screen", [PHONE], ids=["phone"])
def test_opened_file_scrolls_into_view_on_a_phone(page: Page, pan: Path) -> None:
    choose(page, pan)
    expect(row(page, pan.name, "done")).to_be_visible()
    row(page, pan.name).locator(".row-open").click()
    expect(page.locator("#detail-title")).to_be_in_viewport()
    expect(page.locator("#detail-title")).to_be_focused()


def test_keyboard_reaches_files_rows_and_timeline(page: Page, pan: Path) -> None:
    # Registered first: else the key press may open the chooser before the browser intercepts it
    page.on("filechooser", lambda chooser: None)
    until_focused(page, "#file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(pan)
    expect(row(page, pan.name, "done")).to_be_visible()
    until_focused(page, ".row-open")
    page.keyboard.press("Enter")
    expect(page.locator("#detail-title")).to_be_focused()
    until_focused(page, ".segment")


def until_focused(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(20):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"Tab does not lead to {selector}")
