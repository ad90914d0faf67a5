"""The viewer of the API at /docs, in a browser: it shows the description and sends no request to another host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser.conftest import PATIENCE_MS

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

    from deploy.stack.stack import Stack

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def shown(page: Page) -> None:
    """Wait until the viewer has read the description."""
    expect(page.get_by_text("Classify a file").first).to_be_attached(timeout=PATIENCE_MS)


@pytest.fixture
def docs(context: BrowserContext, stack: Stack) -> Iterator[Page]:
    """The page at /docs; fails if the policy (CSP) was violated or another host got a request."""
    page, complaints, foreign = context.new_page(), list[str](), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: foreign.append(request.url))
    page.goto("/docs")
    shown(page)
    yield page
    assert complaints == []
    assert [url for url in foreign if not url.startswith((stack.url, "data:", "blob:"))] == []


@pytest.mark.parametrize(
    ("screen", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)
def test_viewer_follows_the_colour_scheme_and_fits_the_screen(docs: Page, scheme: str) -> None:
    docs.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    docs.reload()
    expect(docs.locator("body")).to_have_class(f"{scheme}-mode")
    shown(docs)
    assert not docs.evaluate(WIDER)


@pytest.mark.parametrize("screen", [DESKTOP])
def test_samples_in_three_languages(docs: Page) -> None:
    docs.get_by_role("link", name="Classify a file").first.click()
    operation = docs.locator('section[id$="POST/v1/classify"]')
    for label, text in (("curl", "curl -sS"), ("Python client", "from clipstack_client"), ("fetch", "new FormData()")):
        operation.get_by_role("button", name="curl").or_(
            operation.get_by_role("button", name="Python client")
        ).first.click()
        docs.get_by_role("option", name=label, exact=True).first.click()
        expect(operation.locator("pre").first).to_contain_text(text)
