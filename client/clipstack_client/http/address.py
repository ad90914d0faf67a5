"""Address of a service, the key that it asks for, and the certificates to trust."""

import ipaddress
import os
import ssl
from collections.abc import Mapping

import httpx

KEY_VARIABLE = "CLIPSTACK_KEY"


def parse_url(url: str) -> httpx.URL:
    """Return the parts of a service's URL; raise ValueError if it is not one."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ValueError(f"{url!r} is not the URL of a service: it must look like http://host:port")
    return parts


def authorized(key: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers with `key`, or the key of the environment, unless they have an authorization.

    Raise ValueError if the key is malformed.
    """
    result = dict(headers or {})
    key = (os.environ.get(KEY_VARIABLE, "") if key is None else key).strip()
    if not key or "authorization" in map(str.lower, result):
        return result
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError(
            "the key is malformed: a key has only ASCII letters, digits and _"
        )  # never show the key itself
    return result | {"Authorization": f"Bearer {key}"}


def ssl_context(verify: bool | str | os.PathLike[str]) -> ssl.SSLContext | bool:
    """Return what httpx verifies certificates by; raise OSError if the file of certificates cannot be read."""
    return verify if isinstance(verify, bool) else ssl.create_default_context(cafile=os.fspath(verify))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
