"""Answers and segments confirmed and corrected on the page, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from deploy.stack.stack import Stack
from tests.e2e.browser.actions import choose, row, serious_issues
from tests.support.api_keys import new_key, with_key

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


@pytest.fixture(scope="session")
def stack(feedback_stack: Stack) -> Stack:
    return feedback_stack


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    return new_key(stack, "browser feedback")


@pytest.fixture
def page(context: BrowserContext, key: str) -> Iterator[Page]:
    """The page, logged in; fails if its script raised an error or its policy (CSP) was violated."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto("/")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("[data-started]")
    yield page
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []


def kept(stack: Stack, key: str) -> list[dict[str, Any]]:
    """Return the feedback by people that the service keeps for this key."""
    with with_key(stack, key) as client:
        entries = client.get("/v1/feedback").json()["feedback"]
    return [entry for entry in entries if entry["state"] != "unsure"]


def test_answer_is_corrected_on_the_page(page: Page, stack: Stack, key: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (96, 96, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    choose(page, tmp_path / "noise.png")
    review = page.locator(".card-answer .review")
    expect(review).to_contain_text("right?")
    assert serious_issues(page) == []
    review.get_by_role("button", name="Wrong").click()
    expect(review.get_by_label("Right label")).to_be_focused()
    expect(review.locator("option[value=too_dark]")).to_have_count(1)
    page.keyboard.type("a new label")
    page.keyboard.press("Enter")
    expect(review).to_contain_text("You said: A new label.")
    (entry,) = kept(stack, key)
    assert (entry["labels"], entry["state"], entry["model"]) == (["a new label"], "corrected", "frame_quality")
    assert entry["file"]["name"] == "noise.png"


def test_segment_is_confirmed_then_corrected_by_keyboard(page: Page, stack: Stack, key: str, pan: Path) -> None:
    before = len(kept(stack, key))
    choose(page, pan)
    expect(row(page, pan.name, "done")).to_be_visible()
    segment = page.locator(".segments li").first
    opener = segment.locator(".segment-review")
    opener.focus()
    page.keyboard.press("Enter")
    expect(segment.get_by_role("button", name="Right", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(segment.locator(".review-words")).to_contain_text("You said: Pan left.")
    assert kept(stack, key)[0]["state"] == "confirmed"
    expect(segment.get_by_role("button", name="Change")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("x")
    page.keyboard.press("Escape")
    expect(segment.get_by_role("button", name="Change")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("static")
    page.keyboard.press("Enter")
    expect(segment.locator(".review-words")).to_contain_text("You said: Static.")
    assert serious_issues(page) == []
    entries = kept(stack, key)
    assert len(entries) == before + 1, "the second answer replaced the first"
    assert (entries[0]["labels"], entries[0]["predicted"]) == (["static"], ["pan_left"])
    page.reload()
    page.wait_for_selector("[data-started]")
    expect(page.locator(".segments li").first.locator(".segment-review[data-said]")).to_have_attribute(
        "title", "You said: Static"
    )
