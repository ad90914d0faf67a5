"""The page as a person uses it, with JavaScript: choose, drop, watch, cancel, read the answer or the error."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.films import panning, write_video

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

DONE = "#upload[data-state=done]"
FAILED = "#upload[data-state=failed]"


@pytest.fixture(scope="session")
def pan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a camera that pans left."""
    path = tmp_path_factory.mktemp("films") / "panning left.mp4"
    return write_video(path, panning(60, 320, 240, step=3, seed=3))


def slow_down(context: BrowserContext, page: Page, bytes_per_s: int) -> None:
    """Limit the upload's speed in the browser itself; -1 lifts the limit."""
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_s}
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", limits)


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    """Drop files of these names and contents on the page."""
    script = """files => {
        const transfer = new DataTransfer();
        for (const [name, content] of files) {
            const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], name));
        }
        return transfer;
    }"""
    content = [(name, base64.b64encode(data).decode()) for name, data in files]
    transfer = page.evaluate_handle(script, content)
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    expect(page.locator("#upload[data-dragging]")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.locator("#upload[data-dragging]")).to_have_count(0)


def test_a_chosen_clip_shows_its_label_frames_times_and_facts(page: Page, pan: Path) -> None:
    page.set_input_files("#file", pan)
    expect(page.locator(DONE)).to_be_visible()
    expect(page.locator("#answer-title")).to_have_attribute("data-label", "pan_left")
    expect(page.locator("#answer-title")).to_have_text("Pan left")
    expect(page.locator(".bars li")).to_have_count(4)
    assert page.locator(".frames img").evaluate_all("all => all.map(one => one.naturalWidth)") == [56] * 8
    for stage in ("Receive", "Wait", "Inspect", "Decode", "Infer", "Answer"):
        expect(page.locator(".stages dt", has_text=stage)).to_be_visible()
    expect(page.locator("#sent")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("320 × 240")
    expect(page.locator(".facts")).to_contain_text("panning left.mp4")
    expect(page).to_have_title("Pan left · Clipstack")


def test_real_footage_gets_an_answer_and_nothing_on_the_page_jumps(page: Page, real_videos: Path) -> None:
    page.set_input_files("#file", real_videos / "arm_wrestling.mp4")
    expect(page.locator(DONE)).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("340 × 256")
    expect(page.locator(".frames img")).to_have_count(8)
    assert page.evaluate("window.shifts") < 0.01


def test_several_places_of_the_video_are_shown_on_its_line(page: Page, pan: Path) -> None:
    page.select_option("select[name=clips]", "3")
    page.set_input_files("#file", pan)
    expect(page.locator(DONE)).to_be_visible()
    expect(page.locator(".span-line .bar-value")).to_have_count(3)
    expect(page.locator("select[name=clips]")).to_have_value("3")


def test_the_upload_shows_its_progress(context: BrowserContext, page: Page, pan: Path) -> None:
    slow_down(context, page, pan.stat().st_size // 2)
    page.set_input_files("#file", pan)
    expect(page.locator("#upload[data-state=uploading]")).to_be_visible()
    expect(page.locator("#file-note")).to_have_text(re.compile(r"^[1-9]\d? %"))
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "true")
    expect(page.locator(DONE)).to_be_visible()
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")


def test_a_cancelled_upload_leaves_the_empty_form_and_the_next_one_works(
    context: BrowserContext, page: Page, pan: Path
) -> None:
    slow_down(context, page, 10_000)
    page.set_input_files("#file", pan)
    page.click("#cancel")
    expect(page.locator("#upload[data-state=empty]")).to_be_visible()
    expect(page.locator("#preview")).to_be_hidden()
    slow_down(context, page, -1)
    page.set_input_files("#file", pan)
    expect(page.locator(DONE)).to_be_visible()


def test_a_dropped_clip_is_analysed(page: Page, pan: Path) -> None:
    drop(page, (pan.name, pan.read_bytes()))
    expect(page.locator(DONE)).to_be_visible()
    expect(page.locator("#answer-title")).to_have_attribute("data-label", "pan_left")


def test_two_dropped_files_are_one_too_many(page: Page, pan: Path) -> None:
    drop(page, ("one.mp4", pan.read_bytes()), ("two.mp4", pan.read_bytes()))
    expect(page.locator(FAILED)).to_be_visible()
    expect(page.locator("#answer-title")).to_have_attribute("data-code", "too_many_files")


def test_a_refused_file_is_explained_and_the_next_one_works(page: Page, pan: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("this is no video\n" * 100)
    page.set_input_files("#file", tmp_path / "notes.mp4")
    expect(page.locator(FAILED)).to_be_visible()
    expect(page.locator("#answer-title")).to_have_attribute("data-code", "unsupported_media")
    expect(page.locator("#answer")).to_contain_text("Send MP4")
    expect(page.locator("[data-slot=request-id]")).not_to_be_empty()
    page.set_input_files("#file", pan)
    expect(page.locator(DONE)).to_be_visible()


def test_a_picture_is_shown_and_the_model_says_that_it_wants_videos(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (320, 240), (40, 90, 160)).save(tmp_path / "sea.png")
    page.set_input_files("#file", tmp_path / "sea.png")
    expect(page.locator(FAILED)).to_be_visible()
    expect(page.locator("#answer-title")).to_have_attribute("data-code", "wrong_media_kind")
    assert page.locator("#preview img").evaluate("picture => picture.naturalWidth") == 320


def test_a_lost_connection_is_told_apart_from_a_bad_file(context: BrowserContext, page: Page, pan: Path) -> None:
    context.set_offline(True)
    page.set_input_files("#file", pan)
    expect(page.locator(FAILED)).to_be_visible()
    expect(page.locator("#answer-title")).to_have_attribute("data-code", "no_connection")


def test_a_file_over_the_limit_is_not_sent_at_all(page: Page, pan: Path) -> None:
    page.locator("#upload").evaluate("form => { form.dataset.maxBytes = '1000'; form.dataset.limit = '1 kB'; }")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.set_input_files("#file", pan)
    expect(page.locator("#answer-title")).to_have_attribute("data-code", "too_large")
    expect(page.locator("#answer")).to_contain_text("up to 1 kB are taken")
    assert "POST" not in sent


def test_the_keyboard_reaches_the_form_and_the_answer(page: Page, pan: Path) -> None:
    # The browser must know that choosers are waited for before the key that opens one can be quicker
    page.on("filechooser", lambda chooser: None)
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "file":
            break
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(pan)
    expect(page.locator(DONE)).to_be_visible()
    expect(page.locator("#answer-title")).to_be_focused()
    with page.expect_file_chooser():
        page.get_by_role("button", name="Choose another").press("Enter")


@pytest.mark.parametrize("screen", [{"width": 360, "height": 740}], ids=["phone"])
def test_a_phone_has_no_sideways_scrolling_and_brings_the_answer_into_view(page: Page, pan: Path) -> None:
    wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(wider)
    page.set_input_files("#file", pan)
    expect(page.locator(DONE)).to_be_visible()
    expect(page.locator("#answer-title")).to_be_in_viewport()
    assert not page.evaluate(wider)
