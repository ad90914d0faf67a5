"""Allowed receivers of webhooks: the hosts in CLIPSTACK_WEBHOOKS, and the addresses that they may have."""

from collections.abc import Iterable

from app.fetch.addresses import Address, is_public
from app.fetch.errors import InvalidUrl
from app.fetch.urls import WebAddress, parse_address
from app.settings import fetch_rules


class RefusedUrl(Exception):
    """A callback URL that may not be used; the message says why and what is right."""


class AllowedHosts:
    """The hosts of the setting CLIPSTACK_WEBHOOKS, whose syntax is that of CLIPSTACK_FETCH without buckets."""

    def __init__(self, setting: str) -> None:
        self._rules = fetch_rules.parse(setting).hosts

    def check(self, url: str) -> WebAddress:
        """Return the parts of `url`; raise RefusedUrl unless events may be sent there."""
        if not self._rules:
            raise RefusedUrl("webhooks are off on this service: its operator sets CLIPSTACK_WEBHOOKS to allow hosts")
        try:
            target = parse_address(url)
        except InvalidUrl as error:
            raise RefusedUrl(error.message) from None
        if not isinstance(target, WebAddress):
            raise RefusedUrl("the URL must begin with https://")
        if not self._matching(target):
            raise RefusedUrl(f"{target.origin} is not an allowed receiver: the operator adds it to CLIPSTACK_WEBHOOKS")
        return target

    def allowed(self, target: WebAddress, addresses: Iterable[Address]) -> list[Address]:
        """Return those of a host's addresses that a receiver may have.

        Private and loopback addresses need `!private`. Link-local ones are never allowed: cloud providers serve a
        machine's credentials there.
        """
        may_be_private = any(rule.private for rule in self._matching(target))
        return [address for address in addresses if is_public(address) or (may_be_private and _is_private(address))]

    def _matching(self, target: WebAddress) -> list[fetch_rules.HostRule]:
        parts = (target.scheme, target.host, target.port)
        return [rule for rule in self._rules if rule.matches(*parts, is_address=target.literal is not None)]


def _is_private(address: Address) -> bool:
    embedded = (getattr(address, name, None) for name in ("ipv4_mapped", "sixtofour"))
    inner: Address = next(filter(None, embedded), address)
    if inner.is_link_local or inner.is_multicast or inner.is_unspecified:
        return False
    return inner.is_private or inner.is_loopback
