"""Login, work and logout on the page, with and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.auth import store
from deploy.stack.stack import Stack
from tests.e2e.browser.actions import choose, row, serious_issues
from tests.support.api_keys import new_key, with_key

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


@pytest.fixture(scope="session")
def stack(configured_stack: Stack) -> Stack:
    return configured_stack


@pytest.fixture(scope="module")
def alice(stack: Stack) -> str:
    return new_key(stack, "browser alice")


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """The login page; fails if a script raised an error or the policy (CSP) was violated."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto("/")
    yield page
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []


def log_in(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_user_logs_in_works_and_logs_out(page: Page, stack: Stack, alice: str, pan: Path) -> None:
    from playwright.sync_api import expect

    expect(page).to_have_url(re.compile("/login$"))
    assert serious_issues(page) == []
    log_in(page, "clipstack_aaaaaaaa_" + "a" * 32)
    expect(page.get_by_role("alert")).to_contain_text("not known")
    assert serious_issues(page) == []

    log_in(page, alice)
    page.wait_for_selector("[data-started]")
    assert all(alice.rpartition("_")[2] not in str(cookie) for cookie in page.context.cookies())
    choose(page, pan)
    expect(row(page, pan.name, "done")).to_be_visible(timeout=60_000)
    with with_key(stack, alice) as client:
        (job,) = client.get("/v1/jobs").json()["jobs"]
    row(page, pan.name).locator(".row-open").click()
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, pan.name)).to_have_count(0)
    with with_key(stack, alice) as client:
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 404, "the page's own token let it be removed"

    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login$"))
    assert [cookie["name"] for cookie in page.context.cookies()] == ["clipstack_login"]
    page.goto("/models#here")
    expect(page).to_have_url(re.compile(r"/login\?next=/models#here$"))
    log_in(page, alice)
    expect(page).to_have_url(f"{stack.url}/models#here")
    page.goto("/login?next=//elsewhere.example")
    expect(page).to_have_url(f"{stack.url}/")


def test_revoked_key_returns_to_login(page: Page, stack: Stack) -> None:
    from playwright.sync_api import expect

    log_in(page, new_key(stack, "browser leaver"))
    page.wait_for_selector("[data-started]")
    page.goto("about:blank")  # an open page would navigate to the login by itself
    store.revoke(stack.settings.keys_file, "browser leaver")
    page.goto("/")
    expect(page).to_have_url(re.compile("/login$"))


def test_open_page_notices_a_revoked_key(page: Page, stack: Stack) -> None:
    from playwright.sync_api import expect

    page.clock.install()
    log_in(page, new_key(stack, "browser stays"))
    page.wait_for_selector("[data-started]")
    store.revoke(stack.settings.keys_file, "browser stays")
    page.clock.fast_forward(16_000)  # an idle page asks every 15 s
    expect(page).to_have_url(re.compile("/login$"), timeout=10_000)


class TestWithoutJavaScript:
    @pytest.fixture
    def scripted(self) -> bool:
        return False

    def test_login_works_without_javascript(self, page: Page, alice: str, pan: Path) -> None:
        from playwright.sync_api import expect

        log_in(page, alice)
        choose(page, pan)
        page.get_by_role("button", name="Analyse", exact=True).click()
        expect(page.locator("#answer-title")).to_have_attribute("data-label", "pan_left")
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(re.compile("/login$"))
