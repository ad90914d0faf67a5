"""Hosts that may receive webhooks."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from app.jobs.webhooks.hosts import AllowedHosts, RefusedUrl
from app.settings import InvalidSetting, Settings
from tests.unit.app.jobs.records import URL

ENTRIES = "hooks.example.com,*.example.org,ports.example.com:8443,http://127.0.0.1:9000!private"


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://HOOKS.example.com:443/x?token=1",
        "https://a.example.org/",
        "https://a.b.example.org/",
        "https://ports.example.com:8443/",
        "http://127.0.0.1:9000/hook",
    ],
)
def test_listed_receivers_are_allowed(url: str) -> None:
    AllowedHosts(ENTRIES).check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/", "https://example.org/", "https://hooks.example.com:8443/",
        "https://ports.example.com/", "https://127.0.0.1:9000/", "http://127.0.0.1/", "https://evilexample.org/",
        "https://hooks.example.com@evil.com/", "https://evil.com/#@hooks.example.com", "s3://hooks.example.com/key",
        "https://hooks.example.com\\@evil.com",
        "ftp://hooks.example.com/", "hooks.example.com", "https://", "https://[::1", "https://hooks.example.com:99999/",
        "https://hooks.example.com/a b", "https://h\u00f6oks.example.com/", "https://hooks.example.com/" + "a" * 2048,
        "https://hooks.example.com/\n", "https://hooks.example.com.evil.com/",
    ],
)  # fmt: skip
def test_other_receivers_are_refused(url: str) -> None:
    with pytest.raises(RefusedUrl):
        AllowedHosts(ENTRIES).check(url)


def test_webhooks_are_off_by_default() -> None:
    with pytest.raises(RefusedUrl, match="CLIPSTACK_WEBHOOKS"):
        AllowedHosts(Settings.from_environment({}).webhooks).check(URL)


@pytest.mark.parametrize("text", ["https://a.com/x", "ftp://a.com", "a b", "s3://bucket/folder", "http://"])
def test_wrong_receivers_in_the_setting_are_named(text: str) -> None:
    with pytest.raises(InvalidSetting, match="CLIPSTACK_WEBHOOKS"):
        Settings.from_environment({"CLIPSTACK_WEBHOOKS": text})


@pytest.mark.parametrize(
    ("address", "private", "public"),
    [
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
        ("127.0.0.1", True, False),
        ("10.1.2.3", True, False),
        ("::1", True, False),
        ("fd00::1", True, False),
        ("::ffff:10.0.0.1", True, False),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("224.0.0.1", False, False),
        ("0.0.0.0", False, False),
        ("2002:a9fe:a9fe::1", False, False),
        ("64:ff9b::808:808", True, True),
        ("64:ff9b::7f00:1", False, False),
        ("3fff::1", False, False),
    ],
)
def test_addresses_of_receivers_are_checked(address: str, private: bool, public: bool) -> None:
    for entry, expected in (("hooks.example.com!private", private), ("hooks.example.com", public)):
        hosts = AllowedHosts(entry)
        assert bool(hosts.allowed(hosts.check(URL), [ip_address(address)])) is expected
