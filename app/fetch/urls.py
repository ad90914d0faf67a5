"""Strict parsing of URLs: what two parsers could read differently is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote, urljoin, urlsplit

import idna

from app.fetch.addresses import Address
from app.fetch.errors import InvalidUrl
from app.settings.fetch_rules import PORTS, STORES

MAX_URL = 2048
MAX_KEY = 1024  # bytes of an object's name, as S3 has it
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\<>\"^`{|}\s]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


@dataclass(frozen=True, slots=True)
class WebAddress:
    """Parts of an http(s) URL. `path` has the query; `literal` is the host if it is an IP address."""

    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None = None

    @property
    def origin(self) -> str:
        """Return the URL without its path."""
        host = f"[{self.host}]" if isinstance(self.literal, IPv6Address) else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    @property
    def name(self) -> str:
        """Return the last part of the path, decoded, for display."""
        return unquote(self.path.partition("?")[0].rpartition("/")[2])

    def redirected(self, location: str) -> WebAddress:
        """Return the target of a redirect; raises InvalidUrl."""
        if _UNSAFE.search(location) or not location.isascii():
            raise InvalidUrl("the URL redirects to one with characters that must be percent-encoded")
        try:
            target = parse_address(urljoin(self.origin + self.path, location))
        except ValueError:
            raise InvalidUrl("the URL redirects to one that is malformed") from None
        if isinstance(target, ObjectAddress):
            raise InvalidUrl(f"the URL redirects to {target.store}://: only https:// and http:// are followed")
        return target


@dataclass(frozen=True, slots=True)
class ObjectAddress:
    """An object in an object store: `store` is s3, gs or az."""

    store: str
    bucket: str
    key: str

    @property
    def origin(self) -> str:
        """Return the URL of the bucket."""
        return f"{self.store}://{self.bucket}"

    @property
    def name(self) -> str:
        """Return the last part of the key, for display."""
        return self.key.rpartition("/")[2]


def parse_address(text: str) -> WebAddress | ObjectAddress:
    """Return the parts of a URL; raises InvalidUrl, whose message says what to change."""
    if len(text) > MAX_URL:
        raise InvalidUrl(f"the URL has {len(text)} characters: at most {MAX_URL} are allowed")
    if (store := text.partition("://")[0].lower()) in STORES:
        return _object(store, text[len(store) + 3 :])
    if _UNSAFE.search(text):
        raise InvalidUrl("the URL has spaces or other characters that must be percent-encoded")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidUrl("the URL is malformed: it must look like https://host/clip.mp4") from None
    if parts.scheme not in PORTS or not parts.netloc:
        raise InvalidUrl(f"{text[:40]!r} is not a URL that can be downloaded: it must begin with https://")
    if "@" in parts.netloc:
        raise InvalidUrl("the URL has a user name or password: remove it, or send the file itself")
    host, port = _split_port(parts.netloc)
    literal = _literal(host)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise InvalidUrl("the URL's path has characters that must be percent-encoded")
    name = str(literal) if literal is not None else _host_name(host)
    return WebAddress(parts.scheme, name, PORTS[parts.scheme] if port is None else port, path, literal)


def _object(store: str, text: str) -> ObjectAddress:
    bucket, _, key = text.partition("/")
    if not _BUCKET.fullmatch(bucket) or not key or len(key.encode(errors="replace")) > MAX_KEY:
        raise InvalidUrl(f"{store}://{text[:40]} names no object: write {store}://bucket/key")
    if not key.isprintable() or any(part in ("", ".", "..") for part in key.split("/")):
        raise InvalidUrl("the object's name has a part that is empty, '.' or '..', or characters that cannot be shown")
    return ObjectAddress(store, bucket, key)


def _split_port(netloc: str) -> tuple[str, int | None]:
    """Return the host, IPv6 in brackets, and the port, None without one; raises InvalidUrl."""
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{1,5})?)?", netloc)
    if match is None or not match[1]:
        raise InvalidUrl("the URL's host or port is malformed")
    port = int(match[2]) if match[2] else None
    if port is not None and not 1 <= port <= 65535:
        raise InvalidUrl(f"the URL's port {port} is not between 1 and 65535")
    return match[1], port


def _literal(host: str) -> Address | None:
    """Return the IP address that the host is, None if it is a name; raises InvalidUrl for unusual spellings."""
    if host.startswith("["):
        try:
            address = IPv6Address(host.strip("[]"))
        except AddressValueError:
            raise InvalidUrl("the URL's host is not a valid IPv6 address") from None
        if address.scope_id is not None:
            raise InvalidUrl("the URL's IPv6 address has a zone: remove it")
        return address
    # inet_aton() reads 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1
    if _NUMBER.fullmatch(host.lower().rstrip(".").rpartition(".")[2]):
        try:
            return IPv4Address(host)
        except AddressValueError:
            raise InvalidUrl("the URL's host is a number: write an IPv4 address as 192.0.2.1") from None
    return None


def _host_name(host: str) -> str:
    """Return a host name in lower case and ASCII, without a dot at its end; raises InvalidUrl."""
    name = host.removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True, std3_rules=True).decode()
        except idna.IDNAError:
            raise InvalidUrl("the URL's host is not a valid international name") from None
        if _literal(name) is not None:
            raise InvalidUrl("the URL's host is a number: write an IPv4 address as 192.0.2.1")
    name = name.lower()
    if len(name) > 253 or not all(map(_LABEL.fullmatch, name.split("."))):
        raise InvalidUrl("the URL's host is not a valid name")
    return name
