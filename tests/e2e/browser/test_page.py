"""The page as a person uses it, with JavaScript: files in, the queue, the answer, the errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image

from tests.e2e.browser.actions import Line, choose, drop, row, serious_issues

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

    from deploy.stack.stack import Stack

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


def test_video_result_has_all_its_parts(page: Page, pan: Path) -> None:
    choose(page, pan)
    expect(row(page, pan.name, "done")).to_be_visible()
    expect(page.locator(".segment").first).to_have_attribute("aria-label", re.compile("^Pan left, 0:00.0 to 0:0"))
    expect(page.locator(".verdict h3")).to_have_attribute("data-label", "pan_left")
    expect(page.locator(".verdict-score")).to_have_text(re.compile(r"^\d+ % of the time$"))
    expect(page.locator(".frames img").first).to_be_visible()
    assert min(page.locator(".frames img").evaluate_all("all => all.map(one => one.naturalWidth)")) > 0
    page.get_by_text("Where the time went").click()
    for stage in ("In line", "Analysis", "Decoding", "The model"):
        expect(page.locator(".spent dt", has_text=stage)).to_be_visible()
    expect(page.locator(".sent")).to_contain_text("the upload took")
    expect(page.locator(".facts")).to_contain_text("320 × 240")
    expect(page.locator(".facts")).to_contain_text("panning left.mp4")
    expect(page).to_have_title("Pan left · Clipstack")
    kinds = {}
    page.get_by_text("Download", exact=True).click()
    for link in page.locator("a.menu-item").all():
        expect(link).to_be_visible()
        answer = page.request.get(link.get_attribute("href") or "")
        kinds[link.get_attribute("download")] = (answer.status, answer.headers["content-type"].split(";")[0])
    assert kinds == {
        "panning left.json": (200, "application/json"),
        "panning left.csv": (200, "text/csv"),
        "panning left.vtt": (200, "text/vtt"),
        "panning left.svg": (200, "image/svg+xml"),
        "panning left.png": (200, "image/png"),
    }


def test_real_footage_gets_a_timeline_without_layout_shift(page: Page, real_videos: Path) -> None:
    choose(page, real_videos / "arm_wrestling.mp4")
    expect(row(page, "arm_wrestling.mp4", "done")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("427 × 256")
    ends = page.locator(".segment-time").all_inner_texts()
    assert ends[0].startswith("0:00.0") and ends[-1].endswith("0:10.0")
    # New content appears below; the bars and frames of the answer grow during the analysis.
    assert page.evaluate("window.shifts") < 0.1


def test_one_or_several_clips_are_classified(page: Page, pan: Path) -> None:
    page.select_option("select[name=clips]", "3")
    choose(page, pan)
    expect(row(page, pan.name, "done")).to_be_visible()
    expect(page.locator(".verdict h3")).to_have_attribute("data-label", "pan_left")
    expect(page.locator(".bars li")).to_have_count(4)
    expect(page.locator(".frames img")).to_have_count(8)
    expect(page.locator(".span-line .bar-best")).to_have_count(3)
    page.get_by_text("Where the time went").click()
    for stage in ("Receive", "Wait", "Inspect", "Decode", "Infer", "Answer"):
        expect(page.locator(".stages dt", has_text=stage)).to_be_visible()
    expect(page.locator(".timeline")).to_be_hidden()


def test_picture_uses_the_picture_model(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (320, 240), (2, 2, 3)).save(tmp_path / "night.png")
    choose(page, tmp_path / "night.png")
    expect(row(page, "night.png", "done")).to_be_visible()
    expect(page.locator(".card-answer")).to_contain_text("By objects")
    expect(page.locator(".frames img")).to_have_count(1)
    assert page.locator(".screen img").evaluate("picture => picture.naturalWidth") == 320


@pytest.mark.alone
def test_upload_and_analysis_show_their_progress_and_time_left(
    context: BrowserContext, page: Page, long_pan: Path
) -> None:
    Line(context, page).upload_at(long_pan.stat().st_size // 3)
    choose(page, long_pan)
    state = row(page, long_pan.name).locator(".row-state")
    expect(state).to_have_text(re.compile(r"^Uploading · \d+ % · \d+ s left$"))
    sending = page.get_by_role("progressbar", name=f"Upload of {long_pan.name}")
    assert 0 < float(sending.get_attribute("value") or 0) < 1
    # The timeline's place is reserved before the first result, and inactive.
    page.locator(".timeline").click(force=True)
    expect(page.locator(".track.empty")).not_to_be_focused()
    expect(state).to_have_text(re.compile(r"^Analysing · \d+ % · (\d+ s left|nearly there)$"))
    expect(page.locator(".segment").first).to_be_visible()
    assert page.locator(".unseen-part").evaluate("rect => rect.getBBox().width") > 0
    looking = page.get_by_role("progressbar", name=f"Analysis of {long_pan.name}")
    assert 0 < float(looking.get_attribute("value") or 0) < 100
    expect(row(page, long_pan.name, "done")).to_be_visible()
    assert page.locator(".unseen-part").evaluate("rect => rect.getBBox().width") == 0


def test_two_files_are_sent_at_a_time(context: BrowserContext, page: Page, pan: Path) -> None:
    line = Line(context, page)
    line.upload_at(10_000)
    drop(page, *[(f"{number}.mp4", pan.read_bytes() + bytes([number])) for number in range(4)])
    expect(page.locator('.row[data-state="uploading"]')).to_have_count(2)
    expect(page.locator('.row[data-state="waiting"]')).to_have_count(2)
    expect(page.locator("#queue-card .card-head")).to_contain_text("4 of 4 files to go")
    line.upload_at(-1)
    expect(page.locator('.row[data-state="done"]')).to_have_count(4)


def test_a_cancelled_upload_can_be_sent_again(context: BrowserContext, page: Page, pan: Path) -> None:
    line = Line(context, page)
    line.upload_at(10_000)
    choose(page, pan)
    expect(row(page, pan.name, "uploading")).to_be_visible()
    page.get_by_role("button", name=f"Cancel: {pan.name}").click()
    expect(row(page, pan.name, "cancelled")).to_be_visible()
    line.upload_at(-1)
    page.get_by_role("button", name=f"Try again: {pan.name}").click()
    expect(row(page, pan.name, "done")).to_be_visible()


def test_a_job_can_be_cancelled(page: Page, stack: Stack, idle_worker: None, pan: Path) -> None:
    choose(page, pan)
    expect(row(page, pan.name, "queued")).to_be_visible()
    page.get_by_role("button", name=f"Cancel: {pan.name}").click()
    expect(row(page, pan.name, "cancelled")).to_be_visible()
    assert [job["state"] for job in httpx.get(f"{stack.url}/v1/jobs").json()["jobs"]] == ["cancelled"]


def test_waiting_job_survives_a_reload(page: Page, stack: Stack, idle_worker: None, pan: Path) -> None:
    choose(page, pan)
    expect(row(page, pan.name, "queued")).to_be_visible()
    page.reload()
    expect(row(page, pan.name, "queued")).to_be_visible()
    expect(page.locator("#detail-title")).to_have_text(pan.name)
    stack.supervisorctl("start", "jobs")
    expect(row(page, pan.name, "done")).to_be_visible()
    expect(page.locator(".segment").first).to_be_visible()
    # The file now comes from the service
    page.wait_for_function("document.querySelector('.screen video').videoWidth === 320")


def test_earlier_jobs_are_listed_opened_and_deleted(page: Page, stack: Stack, pan: Path) -> None:
    choose(page, pan)
    expect(row(page, pan.name, "done")).to_be_visible()
    page.goto("/")
    earlier = page.locator("#history-card .row")
    expect(earlier).to_have_count(1)
    expect(earlier.locator(".row-state")).to_contain_text("Pan left")
    expect(earlier.locator(".stripe rect").first).to_be_attached()
    earlier.locator(".row-open").click()
    expect(page.locator(".segment").first).to_be_visible()
    expect(page.locator("#detail-title")).to_be_focused()
    page.get_by_role("button", name=f"Delete: {pan.name}").click()
    page.get_by_role("button", name="Keep").click()
    expect(earlier).to_have_count(1)
    page.get_by_role("button", name=f"Delete: {pan.name}").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#history-card")).to_be_hidden()
    assert httpx.get(f"{stack.url}/v1/jobs").json() == {"jobs": [], "next_cursor": None, "missing_nodes": []}


def test_refused_file_is_explained_and_next_one_works(page: Page, pan: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("this is no video\n" * 100)
    choose(page, tmp_path / "notes.mp4")
    expect(row(page, "notes.mp4", "failed")).to_contain_text("This is not a video or picture")
    expect(page.locator(".problem")).to_have_attribute("data-code", "unsupported_media")
    expect(page.locator(".problem")).to_contain_text("Send MP4")
    expect(page.get_by_role("button", name="Choose another")).to_be_visible()
    expect(page.locator(".screen")).to_be_hidden()
    (tmp_path / "odd.mp4").write_bytes(bytes(range(256)) * 10)
    choose(page, tmp_path / "odd.mp4")
    expect(row(page, "odd.mp4", "failed")).to_contain_text("This is not a video or picture")
    expect(page.locator(".problem code")).not_to_be_empty()
    choose(page, pan)
    expect(row(page, pan.name, "done")).to_be_visible()
    expect(page.locator(".problem")).to_be_hidden()


def test_sample_is_analysed_and_its_link_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Try it with a sample").click()
    expect(row(page, "sample.mp4", "done")).to_be_visible()
    labels = page.locator(".segment-name").all_inner_texts()
    assert labels == ["Pan left", "Static", "Zoom in", "Tilt down", "Pan right"]
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    assert re.search("#[0-9a-f]{24}$", page.url)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1280, 720)])
def test_player_timeline_and_answer_share_the_first_screen(page: Page, pan: Path, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    choose(page, pan)
    expect(row(page, pan.name, "done")).to_be_visible()
    for part in (".screen", ".track", ".verdict h3", ".actions"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)


def test_models_page_and_unknown_page(page: Page) -> None:
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Camera motion")).to_be_visible()
    expect(page.get_by_text("and 997 more")).to_be_visible()
    assert serious_issues(page) == []
    answer = page.request.get("/nowhere")
    assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")
    page.goto("/nowhere")
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def test_damaged_video_is_explained(page: Page, pan: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(pan.read_bytes()[: pan.stat().st_size // 2])
    choose(page, damaged)
    expect(row(page, "damaged.mp4", "failed")).to_be_visible()
    expect(page.locator(".problem")).to_have_attribute("data-code", "undecodable")
    expect(page.get_by_role("button", name="Try again: damaged.mp4")).to_be_visible()


def test_lost_connection_is_retried(context: BrowserContext, page: Page, stack: Stack, pan: Path) -> None:
    context.set_offline(True)
    choose(page, pan)
    expect(row(page, pan.name, "paused")).to_contain_text("The connection was lost · trying again in")
    context.set_offline(False)
    expect(row(page, pan.name, "done")).to_be_visible()
    assert len(httpx.get(f"{stack.url}/v1/jobs").json()["jobs"]) == 1


def test_page_retries_after_retry_after(page: Page, stack: Stack, pan: Path) -> None:
    stack.supervisorctl("stop", "web")
    try:
        choose(page, pan)
        expect(row(page, pan.name, "paused")).to_contain_text(re.compile("Not quite ready · trying again in [12] s"))
    finally:
        stack.supervisorctl("start", "web")
    expect(row(page, pan.name, "done")).to_be_visible()


def test_too_large_or_empty_file_is_not_sent(page: Page, stack: Stack) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.evaluate("""() => {
        const transfer = new DataTransfer(), large = new File(["x"], "large.mp4");
        Object.defineProperty(large, "size", { value: 1e12 });
        transfer.items.add(new File([], "empty.mp4"));
        const files = Object.assign([large, ...transfer.files], { item: null });
        const input = document.getElementById("file");
        Object.defineProperty(input, "files", { value: files, configurable: true });
        input.dispatchEvent(new Event("change"));
        delete input.files;
    }""")
    expect(row(page, "large.mp4", "failed")).to_contain_text("This file is too large")
    expect(page.locator(".problem")).to_contain_text("It has 1000 GB; up to 1 GiB are taken.")
    expect(row(page, "empty.mp4", "failed")).to_contain_text("This file is empty")
    assert "POST" not in sent


def test_html_in_file_names_is_escaped(page: Page, pan: Path) -> None:
    name = "<img src=x onerror=alert(1)>.mp4"
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    drop(page, (name, pan.read_bytes()))
    expect(row(page, name, "done")).to_be_visible()
    expect(page.locator("#detail-title")).to_have_text(name)
    page.reload()
    expect(page.locator("#detail-title")).to_have_text(name)
    assert page.locator("img[src=x]").count() == 0
    assert alerts == []


def test_upload_without_file_is_refused(page: Page) -> None:
    page.evaluate("""() => {
        const event = new DragEvent("drop", { bubbles: true, cancelable: true });
        Object.defineProperty(event, "dataTransfer", { value: { types: ["Files"], items: [
            { kind: "file", webkitGetAsEntry: () => null, getAsFile: () => null },
        ] } });
        document.body.dispatchEvent(event);
    }""")
    expect(page.get_by_role("alert")).to_contain_text("Drop videos or pictures, or a folder with some.")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".notice")).to_have_count(0)
