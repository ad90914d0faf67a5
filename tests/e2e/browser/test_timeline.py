"""The timeline under the player: mouse, keyboard and screen reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.e2e.browser.actions import choose, row
from tests.support.films import panning, write_video

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

TIME = "document.querySelector('.screen video').currentTime"


@pytest.fixture
def film(page: Page, tmp_path: Path) -> None:
    """An analysed film of three shots of 2 s: pan left, right, left."""
    left, back = panning(60, 320, 240, step=3, seed=3), panning(60, 320, 240, step=3, seed=8)[::-1]
    again = [np.ascontiguousarray(255 - frame) for frame in panning(60, 320, 240, step=3, seed=11)]
    choose(page, write_video(tmp_path / "three shots.mp4", [*left, *back, *again]))
    expect(row(page, "three shots.mp4", "done")).to_be_visible()
    page.wait_for_function("document.querySelector('.screen video').readyState > 0")


def starts(page: Page) -> list[float]:
    """Return the start of each segment in seconds, from the list under the timeline."""
    texts = page.locator(".segment-time").all_inner_texts()
    return [60 * int(minutes) + float(rest) for minutes, rest in (text.split(" – ")[0].split(":") for text in texts)]


@pytest.mark.usefixtures("film")
def test_click_on_segment_jumps_to_its_beginning(page: Page) -> None:
    last = len(starts(page)) - 1
    assert last >= 2
    page.locator(".segment").nth(last).click()
    assert page.evaluate(TIME) == pytest.approx(starts(page)[last], abs=0.06)
    expect(page.locator(".segments [aria-current]")).to_have_count(1)
    expect(page.locator(".segments li").nth(last).locator("[aria-current=true]")).to_be_visible()


@pytest.mark.usefixtures("film")
def test_pointer_shows_the_scores_of_its_window(page: Page) -> None:
    page.locator(".track").hover(position={"x": 40, "y": 30})
    scores = page.locator(".scores")
    expect(scores).to_be_visible()
    expect(scores.locator("li")).to_have_count(5)
    expect(scores.locator("li").first).to_contain_text("Pan left")
    page.mouse.move(5, 5)
    expect(scores).to_be_hidden()


@pytest.mark.usefixtures("film")
def test_keyboard_goes_from_segment_to_segment_and_jumps(page: Page) -> None:
    count = len(starts(page))
    page.locator(".screen video").focus()
    page.locator('.segment[tabindex="0"]').focus()
    focused = page.locator(".segment:focus")
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-label", page.locator(".segment").nth(1).get_attribute("aria-label") or "")
    expect(page.locator(".scores")).to_be_visible()
    page.keyboard.press("Enter")
    assert page.evaluate(TIME) == pytest.approx(starts(page)[1], abs=0.06)
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert page.evaluate(TIME) == pytest.approx(starts(page)[count - 1], abs=0.06)
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.evaluate(TIME) == 0
    page.keyboard.press("Escape")
    expect(page.locator(".scores")).to_be_hidden()
    expect(page.locator('.segment[tabindex="0"]')).to_have_count(1)


@pytest.mark.usefixtures("film")
def test_keys_play_step_and_pause(page: Page) -> None:
    page.locator("#detail-title").focus()
    page.keyboard.press("l")
    assert page.evaluate(TIME) == pytest.approx(5, abs=0.1)
    page.keyboard.press("j")
    assert page.evaluate(TIME) == pytest.approx(0, abs=0.1)
    page.keyboard.press("Space")
    page.wait_for_function("!document.querySelector('.screen video').paused")
    page.keyboard.press("k")
    page.wait_for_function("document.querySelector('.screen video').paused")
    assert page.evaluate("scrollY") == 0, "Space does not scroll"


@pytest.mark.usefixtures("film")
def test_doubtful_segments_are_marked_filtered_and_found(page: Page) -> None:
    # The film's own segments are sure, so the page gets a record in which one is not
    record = page.request.get(f"/v1/jobs/{page.url.partition('#')[2]}").json()
    record["timeline"]["segments"][1]["score"] = 0.45
    page.route("**/v1/jobs/*", lambda route: route.fulfill(json=record))
    page.reload()
    page.wait_for_selector("[data-started]")
    expect(page.locator(".segment.doubtful")).to_have_count(1)
    page.get_by_role("button", name="Unsure (1)").click()
    expect(page.locator(".segments li")).to_have_count(1)
    page.get_by_role("button", name="Unsure (1)").click()
    page.get_by_label("Order of the segments").select_option("doubt")
    expect(page.locator(".segment-score").first).to_have_text("45.0 %")
    page.locator("#detail-title").focus()
    page.wait_for_function("document.querySelector('.screen video').readyState > 0")
    page.keyboard.press("n")
    assert page.evaluate(TIME) == pytest.approx(record["timeline"]["segments"][1]["start_s"], abs=0.1)


@pytest.mark.usefixtures("film")
def test_label_highlights_its_segments(page: Page) -> None:
    page.get_by_title("Show Pan right in the timeline").click()
    dimmed = page.locator(".segment.dimmed")
    assert dimmed.count() == page.locator(".segment").count() - 1
    page.get_by_title("Show Pan right in the timeline").click()
    expect(dimmed).to_have_count(0)


@pytest.mark.usefixtures("film")
def test_frames_and_list_entries_seek_the_video(page: Page) -> None:
    page.locator(".segment-row").nth(1).click()
    assert page.evaluate(TIME) == pytest.approx(starts(page)[1], abs=0.06)
    page.locator(".frame").first.click()
    assert page.evaluate(TIME) < starts(page)[1]


@pytest.mark.usefixtures("film")
def test_screen_reader_reads_the_timeline(page: Page) -> None:
    group = page.get_by_role("group", name="Timeline of 6.00 s")
    expect(group.get_by_role("button")).to_have_count(len(starts(page)))
    assert (group.get_by_role("button").first.get_attribute("aria-label") or "").startswith("Pan left, 0:00.0 to 0:0")
    assert page.get_by_role("status").inner_text().startswith("three shots.mp4: Pan left")


@pytest.mark.usefixtures("film")
def test_playhead_follows_the_video(page: Page) -> None:
    page.evaluate(f"{TIME} = 3")
    page.wait_for_function("Math.abs(parseFloat(document.querySelector('.playhead').getAttribute('x')) - 50) < 1")


@pytest.mark.usefixtures("film")
def test_segments_are_readable_without_colour(page: Page) -> None:
    looks = page.locator(".segment").evaluate_all(
        "all => all.map(one => [one.getAttribute('aria-label').split(',')[0], getComputedStyle(one.firstChild).fill])"
    )
    colours = dict(looks)
    assert len(set(colours.values())) == len(colours)
    assert all(colours[label] == colour for label, colour in looks)
    expect(page.locator(".segment text").first).to_have_text("Pan left")
