"""Take the picture of /status for the documentation, from a stack that has served requests.

.venv/bin/python -m tests.e2e.browser.screenshot_status docs/status.png [--url http://127.0.0.1:8080]
"""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.e2e.browser.conftest import ARGUMENTS, CHROMIUM


def take(url: str, picture: Path) -> str:
    """Write the whole page to `picture`; return the verdict that it shows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1180, "height": 800}, device_scale_factor=1.5)
        page.goto(f"{url}/status")
        page.wait_for_selector("[data-started]")
        page.screenshot(path=picture, full_page=True)
        verdict = page.locator("#verdict").inner_text()
        browser.close()
    return verdict


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    options = parser.parse_args()
    print(take(options.url, options.picture))
