"""The same page in a browser that runs no JavaScript: a plain form, and pages as answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.films import panning, write_video

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


@pytest.fixture
def scripted() -> bool:
    return False


def send(page: Page, path: Path) -> int:
    """Choose `path`, press the button, and give the status of the page that answers."""
    page.set_input_files("#file", path)
    with page.expect_navigation() as navigation:
        page.click("#submit")
    return navigation.value.status


def test_clip_gets_page_with_label_frames_and_times(page: Page, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", panning(60, 320, 240, step=3, seed=3))
    page.select_option("select[name=clips]", "3")
    assert send(page, clip) == 200
    expect(page.locator("#answer-title")).to_have_attribute("data-label", "pan_left")
    expect(page.locator(".frames img")).to_have_count(8)
    expect(page.locator(".span-line .bar-best")).to_have_count(3)
    expect(page.locator(".stages")).to_contain_text("Decode")
    expect(page.locator("select[name=clips]")).to_have_value("3")


def test_refused_file_gets_an_error_page(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("this is no video\n" * 100)
    assert send(page, tmp_path / "notes.mp4") == 415
    expect(page.locator("#answer-title")).to_have_attribute("data-code", "unsupported_media")
    expect(page.locator("#submit")).to_be_visible()


def test_an_empty_file_gets_a_page_too(page: Page, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert send(page, tmp_path / "empty.mp4") == 400
    expect(page.locator("#answer-title")).to_have_attribute("data-code", "empty_file")
