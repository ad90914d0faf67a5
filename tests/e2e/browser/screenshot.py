"""Takes the picture of the page for the documentation, from a stack that runs.

.venv/bin/python -m tests.e2e.browser.screenshot docs/page.png film.mp4 [more.mp4] [--url http://127.0.0.1:8080] [--dark]
"""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.e2e.browser.conftest import ARGUMENTS, CHROMIUM

PATIENCE_MS = 120_000
GAP = 20  # pixels between two cards, in which the lower one's shadow begins
HOVERED = 0.62  # part of the timeline's width, and then of the video's length


def take(url: str, clips: list[Path], picture: Path, dark: bool, width: int) -> str:
    """Uploads `clips`, opens the first one, writes the upper part of the page to `picture`; the name that it shows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            device_scale_factor=1.5,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        page.goto(url)
        page.set_input_files("#file", clips)
        rows = page.locator("#queue-card .row[data-state=done]")
        rows.nth(len(clips) - 1).wait_for(timeout=PATIENCE_MS)
        page.locator("#queue-card .row").filter(has_text=clips[0].name).locator(".row-open").click()
        page.locator("video").evaluate(
            """(video, part) => new Promise(done => {
                video.controls = false;
                video.addEventListener("seeked", done, { once: true });
                video.currentTime = part * video.duration;
            })""",
            HOVERED,
        )
        track = page.locator(".track")
        box = track.bounding_box()
        assert box is not None, "the timeline is not shown"
        track.hover(position={"x": HOVERED * box["width"], "y": box["height"] / 2})
        page.locator(".scores").wait_for()
        below = page.locator(".card").filter(has=page.get_by_text("Segments", exact=True)).bounding_box()
        assert below is not None, "the cards below the timeline are not shown"
        height = below["y"] - GAP / 2
        page.screenshot(path=picture, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
        name = page.locator("#detail-title").inner_text()
        browser.close()
    return name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1180)
    options = parser.parse_args()
    print(take(options.url, options.clips, options.picture, options.dark, options.width))
