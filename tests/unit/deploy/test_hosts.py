"""Host names that requests may use, by the settings."""

from __future__ import annotations

import socket

import pytest

from app.settings import InvalidSetting, Settings
from deploy.nginx.hosts import host_rules, origin_rules, page_origin_rules

LOOPBACK = {"localhost", "[::1]", r"~^127\.\d+\.\d+\.\d+$", ""}


def names(**settings: str) -> set[str]:
    """Return the allowed names of nginx's map."""
    result = Settings.from_environment({f"CLIPSTACK_{name.upper()}": value for name, value in settings.items()})
    lines = host_rules(result).splitlines()
    assert lines[0] == "default 0;"
    return {line.removeprefix('"').removesuffix('" 1;') for line in lines[1:]}


def test_loopback_service_knows_only_loopback_names() -> None:
    assert names() == LOOPBACK | {"127.0.0.1"}
    assert names(host="::1") == LOOPBACK
    assert names(host="0.0.0.0", published="127.0.0.1:8080") == LOOPBACK | {"127.0.0.1"}


def test_required_keys_allow_any_name() -> None:
    settings = Settings.from_environment({"CLIPSTACK_KEYS": "required"})
    assert host_rules(settings) == "default 1;\n"


def test_public_address_without_keys_allows_own_names() -> None:
    known = names(keys="off", host="clips.lan")
    assert known == LOOPBACK | {
        "clips.lan",
        r"~^\d+\.\d+\.\d+\.\d+$",
        r"~^\[[0-9a-f:.]+\]$",
        socket.gethostname().lower(),
    }
    assert "0.0.0.0" not in names(keys="off", host="0.0.0.0")


def test_listed_names_are_known_with_any_port() -> None:
    added = names(allowed_hosts="Clips.Example, *.lan.example:8080,[fd00::1]:80,") - names()
    assert added == {"clips.example", "*.lan.example", "[fd00::1]"}


def test_port_rule_precedes_origin_without_port() -> None:
    settings = Settings.from_environment({"CLIPSTACK_ALLOWED_HOSTS": "a.example,b.example:81"})
    first, rule, last = origin_rules(settings).splitlines()
    assert r"b\.example:81 " in first and rule.endswith("0;") and r"//a\.example " in last


@pytest.mark.parametrize("text", ["https://a.example", "a b", 'a"b', "*", "a.example/x", "*.", "[::1", "a:port"])
def test_invalid_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="is not a host name"):
        Settings.from_environment({"CLIPSTACK_ALLOWED_HOSTS": text})


def test_origins_are_exact_and_without_default_ports() -> None:
    text = "HTTPS://App.Example:443, http://localhost:3000,http://[::1]:80"
    settings = Settings.from_environment({"CLIPSTACK_ORIGINS": text})
    assert settings.origins == "https://app.example,http://localhost:3000,http://[::1]"
    assert page_origin_rules(settings).splitlines()[0] == r'"~^https://app\.example$" "https://app.example";'
    assert page_origin_rules(Settings.from_environment({})) == ""


@pytest.mark.parametrize(
    "text", ["app.example", "https://a.example/", "https://*.example", "null", "ftp://a", 'http://a"b']
)
def test_invalid_origin_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"is not an origin: write https://app\.example\.com"):
        Settings.from_environment({"CLIPSTACK_ORIGINS": f"https://b.example,{text}"})


def test_all_origins_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="every web page"):
        Settings.from_environment({"CLIPSTACK_ORIGINS": "*"})
