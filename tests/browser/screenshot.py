"""Takes the picture of the page for the documentation, from a stack that runs.

.venv/bin/python -m tests.browser.screenshot clip.mp4 docs/page.png [--url http://127.0.0.1:8080] [--dark]
"""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM


def take(url: str, clip: Path, picture: Path, dark: bool) -> str:
    """Upload `clip`, write what the page then shows to `picture`, and return the label it shows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": 1180, "height": 900},
            device_scale_factor=1.5,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        page.goto(url)
        page.set_input_files("#file", clip)
        page.wait_for_selector("#upload[data-state=done]")
        label = page.locator("#answer-title").inner_text()
        # The player's own controls fade out once it has found the frame; they would hide a part of it.
        page.locator("#preview video").evaluate("""video => new Promise(done => {
            video.controls = false;
            if (!video.seeking) return done();
            video.addEventListener("seeked", done, { once: true });
        })""")
        page.screenshot(path=picture, full_page=True, clip=_without_terminal(page))
        browser.close()
    return label


def _without_terminal(page) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """The part of the page above its last card, which tells the reader of the documentation nothing new."""
    box = page.locator("#details .terminal").bounding_box()
    return {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": box["y"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    print(take(options.url, options.clip, options.picture, options.dark))
