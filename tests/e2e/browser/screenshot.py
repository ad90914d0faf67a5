"""Take the picture of the page for the documentation, from a stack that runs.

.venv/bin/python -m tests.e2e.browser.screenshot docs/page.png photo.jpg [more.mp4] [--model objects] [--url http://127.0.0.1:8080]
"""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.e2e.browser.conftest import ARGUMENTS, CHROMIUM

PATIENCE_MS = 120_000
SCREEN = {"width": 1440, "height": 900}


def take(url: str, files: list[Path], picture: Path, model: str, dark: bool) -> str:
    """Upload `files`, open the first one, write what a screen shows to `picture`; return the answer's best label."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        colours = "dark" if dark else "light"
        page = browser.new_page(viewport=SCREEN, color_scheme=colours, reduced_motion="reduce")
        page.goto(url)
        page.select_option("select[name=model]", model)
        page.set_input_files("#file", files)
        rows = page.locator("#queue-card .row")
        rows.and_(page.locator("[data-state=done]")).nth(len(files) - 1).wait_for(timeout=PATIENCE_MS)
        rows.filter(has_text=files[0].name).locator(".row-open").click()
        page.mouse.move(0, 0)
        label = page.locator(".verdict h3").inner_text()
        page.screenshot(path=picture)
        browser.close()
    return label


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="", help="default: the model of each kind of file")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    print(take(options.url, options.files, options.picture, options.model, options.dark))
