"""Objects on the page: labels of pictures, timelines of single frames, and unsure answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser.actions import choose, row, serious_issues
from tests.support.photographs import film_of_photographs, photograph_file

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


def test_a_photograph_of_a_cup_is_an_espresso(page: Page, tmp_path: Path) -> None:
    (tmp_path / "cup.jpg").write_bytes(photograph_file("coffee"))
    choose(page, tmp_path / "cup.jpg")
    expect(row(page, "cup.jpg", "done")).to_contain_text("Espresso")
    expect(page.locator(".verdict h3")).to_have_text("Espresso")
    expect(page.locator(".card-answer")).to_contain_text("By objects")


def test_model_picker_describes_the_answers(page: Page) -> None:
    about = page.locator("[data-slot=about]")
    expect(about).to_have_text("Camera motion for videos, Objects for pictures")
    page.select_option("select[name=model]", "objects")
    expect(about).to_contain_text("in the 1000 words of ImageNet")
    expect(about).to_contain_text("For example: Espresso, Tabby, Mountain bike.")
    expect(about).to_contain_text("A video gets a timeline of single frames.")
    page.select_option("select[name=model]", "camera_motion")
    expect(about).to_have_text(re.compile("How the camera moves: .* For example: Static, Pan left, Zoom in\\.$"))


def test_film_gets_an_object_timeline(page: Page, tmp_path: Path) -> None:
    page.select_option("select[name=model]", "objects")
    choose(page, film_of_photographs(tmp_path / "things.mp4", ("coffee", "astronaut", "camera")))
    expect(row(page, "things.mp4", "done")).to_be_visible()
    segments = page.locator(".segment")
    expect(segments.nth(0)).to_have_attribute("aria-label", re.compile(r"^Espresso, 0:00.0 to 0:03.0, \d+"))
    # ImageNet has no label for a person
    expect(segments.nth(1)).to_have_attribute("aria-label", re.compile(r"^Unsure \(.+\?\), 0:03.0 to 0:0"))
    expect(segments.nth(1)).to_have_class(re.compile("hue-none"))
    expect(segments.last).to_have_attribute("aria-label", re.compile(r"^Tripod, 0:06.0 to 0:09.0"))
    expect(page.locator(".card-answer")).to_contain_text("Unsure: the best label has less than 30 %.")
    assert serious_issues(page) == []


def test_a_film_is_analysed_with_objects_too(page: Page, tmp_path: Path) -> None:
    choose(page, film_of_photographs(tmp_path / "cup.mp4", ("coffee",)))
    expect(row(page, "cup.mp4", "done")).to_contain_text("Zoom in")
    page.get_by_role("button", name="Analyse with Objects").click()
    expect(row(page, "cup.mp4", "done")).to_have_count(2)
    expect(page.locator(".verdict h3")).to_have_text("Espresso")
    expect(page.get_by_role("button", name="Analyse with Objects")).to_be_hidden()
