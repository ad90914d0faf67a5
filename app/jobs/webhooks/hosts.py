"""Allowed receivers of webhooks: the hosts in CLIPSTACK_WEBHOOKS, and the addresses that they may have."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from app.fetch.addresses import is_public

MAX_URL = 2048  # characters
PRIVATE = "!private"
_PORTS = {"http": 80, "https": 443}

Address = IPv4Address | IPv6Address


class RefusedUrl(Exception):
    """A callback URL that may not be used; the message says why and what is right."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the setting: `https` or `http`, a host or `*.` and a domain, a port, and `!private`."""

    scheme: str
    host: str
    port: int
    private: bool

    def matches(self, host: str, port: int) -> bool:
        is_same = host == self.host or (self.host.startswith("*.") and host.endswith(self.host[1:]))
        return is_same and port == self.port


class AllowedHosts:
    """The hosts of the setting CLIPSTACK_WEBHOOKS, as app/settings_table.py has checked it.

    A host is reached by https on port 443 unless its entry has a port, or begins with `http://`. Its addresses must be
    public unless its entry ends in `!private`.
    """

    def __init__(self, setting: str) -> None:
        self._entries = tuple(_entry(part) for part in setting.split(",") if part)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def check(self, url: str) -> None:
        """Raise RefusedUrl unless events may be sent to `url`."""
        if not self._entries:
            raise RefusedUrl("webhooks are off on this service: its operator sets CLIPSTACK_WEBHOOKS to allow hosts")
        scheme, host, port = _split(url)
        if not any(entry.scheme == scheme and entry.matches(host, port) for entry in self._entries):
            shown = f"{scheme}://{host}:{port}" if scheme == "http" or port != _PORTS["https"] else host
            raise RefusedUrl(f"{shown} is not an allowed receiver: the operator adds it to CLIPSTACK_WEBHOOKS")

    def may_be_private(self, host: str, port: int) -> bool:
        """Return whether the addresses of `host` need not be public."""
        return any(entry.private and entry.matches(host, port) for entry in self._entries)


def is_allowed_address(text: str, *, private: bool) -> bool:
    """Return whether a receiver may have this address.

    Args:
        text: An IP address.
        private: Whether private and loopback addresses are allowed too. Link-local ones never are: cloud providers
            serve a machine's credentials there.
    """
    address: Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    return is_public(address) or (private and (address.is_private or address.is_loopback))


def _entry(text: str) -> _Entry:
    scheme, _, rest = text.removesuffix(PRIVATE).rpartition("://")
    parts = urlsplit(f"//{rest}")
    scheme = scheme or "https"
    return _Entry(scheme, _host(parts), parts.port or _PORTS[scheme], text.endswith(PRIVATE))


def _split(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a callback URL; raises RefusedUrl."""
    if len(url) > MAX_URL:
        raise RefusedUrl(f"the URL has {len(url)} characters: at most {MAX_URL} are allowed")
    if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
        raise RefusedUrl("the URL has blanks or characters that are not ASCII: encode them as %20 and the like")
    try:
        parts = urlsplit(url)
        host, port = _host(parts), parts.port
    except ValueError as error:
        raise RefusedUrl(f"it is not a URL: {error}") from None
    if parts.scheme not in _PORTS or not host:
        raise RefusedUrl("it must be a whole URL, such as https://hooks.example.com/clipstack")
    if "@" in parts.netloc or parts.fragment:
        raise RefusedUrl("a user name, a password and a fragment are not allowed in the URL")
    return parts.scheme, host, port or _PORTS[parts.scheme]


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").lower().removesuffix(".")
