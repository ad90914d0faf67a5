"""Actions of a user on the page, and checks of it: rows of files, a slow network, axe-core."""

from __future__ import annotations

import base64
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page


def choose(page: Page, *paths: Path) -> None:
    page.set_input_files("#file", paths)


def row(page: Page, name: str, state: str = "") -> Locator:
    """Return the row of a file in either list, with `state` only a row in that state."""
    rows = page.locator(f'.row[data-state="{state}"]' if state else ".row")
    return rows.filter(has=page.locator(".row-name").get_by_text(name, exact=True))


class Line:
    """The browser's network, whose upload can be slowed down."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self._session = context.new_cdp_session(page)
        self._session.send("Network.enable")

    def upload_at(self, bytes_per_s: int) -> None:
        """Limit the upload's speed; -1 lifts the limit."""
        limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_s}
        self._session.send("Network.emulateNetworkConditions", limits)


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
    page.wait_for_selector("#upload[data-dragging]")
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    page.wait_for_selector("#upload:not([data-dragging])")


def serious_issues(page: Page) -> list[str]:
    """Return the serious and critical findings of axe-core: the rule, and where."""
    source = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    page.evaluate(source)
    violations: list[dict[str, Any]] = page.evaluate("axe.run().then(({ violations }) => violations)")
    return [
        f"{issue['id']}: {issue['help']} at {node['target']}: {node['failureSummary']}"
        for issue in violations
        if issue["impact"] in ("serious", "critical")
        for node in issue["nodes"]
    ]
