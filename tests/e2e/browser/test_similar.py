"""Similar moments on the page: found from a segment, opened by a click; copies are marked among earlier jobs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser.actions import choose, row, serious_issues
from tests.support.photographs import film_of_photographs

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
TIME = "document.querySelector('.screen video').currentTime"


def analyse(page: Page, film: Path) -> None:
    page.select_option("select[name=model]", "objects")
    choose(page, film)
    expect(row(page, film.name, "done")).to_be_visible()


@pytest.mark.usefixtures("no_jobs")
def test_similar_moments_of_a_segment_are_found_and_opened(page: Page, tmp_path: Path) -> None:
    analyse(page, film_of_photographs(tmp_path / "first.mp4", ("camera", "coffee")))
    analyse(page, film_of_photographs(tmp_path / "second.mp4", ("coffee", "astronaut")))
    page.locator(".segments li", has_text="Espresso").get_by_role("button", name=re.compile("^More like this")).click()
    card = page.locator("section", has=page.get_by_role("heading", name=re.compile("^More like Espresso")))
    expect(card).to_contain_text("moments in 2 kept videos")
    moment = card.locator("button.frame", has_text="first.mp4").first
    expect(moment).to_contain_text(re.compile(r"\d+ %.*Espresso"))
    if folder := os.environ.get("CLIPSTACK_SCREENSHOTS"):
        page.screenshot(path=Path(folder, "similar.png"), full_page=True)
    assert serious_issues(page) == []
    moment.click()
    expect(page.locator(".stage-title")).to_have_text("first.mp4")
    page.wait_for_function(f"{TIME} >= 3")
    expect(card).to_be_hidden()


@pytest.mark.usefixtures("no_jobs")
def test_a_copy_is_marked_as_nearly_the_same(page: Page, tmp_path: Path) -> None:
    analyse(page, film_of_photographs(tmp_path / "film.mp4", ("coffee", "rocket")))
    analyse(page, film_of_photographs(tmp_path / "copy.mp4", ("coffee", "rocket"), seconds=3.2))
    expect(row(page, "copy.mp4")).to_contain_text("Nearly the same as film.mp4")
    expect(row(page, "film.mp4")).not_to_contain_text("Nearly the same")
