"""A large film on the page: sent in chunks, and continued after a reload."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser.actions import Line, choose, row
from tests.support.large_films import write_large_film

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Request

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

MB = 1_000_000


@pytest.fixture
def film(pan: Path, tmp_path: Path) -> Path:
    return write_large_film(tmp_path / "large film.mp4", pan.read_bytes(), 48 * MB)


@pytest.fixture
def offsets(page: Page) -> list[int]:
    """Return the offset of each chunk that the page sends."""
    offsets: list[int] = []

    def note(request: Request) -> None:
        if request.method == "PATCH":
            offsets.append(int(request.headers["upload-offset"]))

    page.on("request", note)
    return offsets


def test_large_film_continues_after_reload(context: BrowserContext, page: Page, film: Path, offsets: list[int]) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    line = Line(context, page)
    line.upload_at(12 * MB)
    choose(page, film)
    expect(row(page, film.name, "uploading")).to_be_visible()
    expect(row(page, film.name)).to_contain_text(re.compile(r"[3-9]\d %"))
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text(film.name)
    expect(page.get_by_role("alert")).to_contain_text("it continues where it stopped")
    line.upload_at(-1)
    offsets.clear()
    choose(page, film)
    expect(row(page, film.name, "done")).to_be_visible()
    assert offsets[0] >= 8 * MB
    page.reload()
    expect(row(page, film.name, "done")).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)


def test_cancelled_large_film_leaves_no_upload(
    context: BrowserContext, page: Page, film: Path, offsets: list[int]
) -> None:
    line = Line(context, page)
    line.upload_at(4 * MB)
    choose(page, film)
    expect(row(page, film.name, "uploading")).to_be_visible()
    with page.expect_request(lambda request: request.method == "DELETE"):
        row(page, film.name).get_by_role("button", name="Cancel").click()
    expect(row(page, film.name, "cancelled")).to_be_visible()
    line.upload_at(-1)
    page.reload()
    expect(page.locator(".notice")).to_have_count(0)
