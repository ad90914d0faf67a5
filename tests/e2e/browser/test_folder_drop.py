"""Folders dropped on the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.e2e.browser.actions import row

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


def drop_paths(context: BrowserContext, page: Page, *paths: Path) -> None:
    """Drop files and folders on the page, as the browser itself does."""
    session = context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 300, "data": data})


def picture(path: Path, colour: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (320, 240), colour).save(path)
    return path


def test_dropped_folder_sends_pictures_of_subfolders_too(context: BrowserContext, page: Page, tmp_path: Path) -> None:
    holiday = tmp_path / "holiday"
    picture(holiday / "one.jpg", "red")
    picture(holiday / "day 2" / "evening" / "two.PNG", "blue")
    picture(holiday / ".cache" / "hidden.jpg", "green")
    (holiday / "notes.txt").write_text("no picture")
    alone = picture(tmp_path / "alone.jpg", "yellow")
    drop_paths(context, page, holiday, alone)
    for name in ("one.jpg", "two.PNG", "alone.jpg"):
        expect(row(page, name, "done")).to_be_visible()
    expect(page.locator(".row")).to_have_count(3)


def test_dropped_folder_without_pictures_shows_a_message(context: BrowserContext, page: Page, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "deeper").mkdir(parents=True)
    (empty / "notes.txt").write_text("no picture")
    drop_paths(context, page, empty)
    expect(page.get_by_role("alert")).to_contain_text("or a folder with some")
