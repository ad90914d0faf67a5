"""Rules of CLIPSTACK_FETCH: the hosts that requests may name in a URL, and the buckets of object stores.

media.example.com            https, port 443
media.example.com:8443       https, port 8443
*.example.com                every subdomain
*                            every public host name
http://media.example.com     without TLS
cameras.example!private      the host may have private addresses
s3://bucket/folder           objects of a bucket, below a folder; gs:// and az:// alike
s3://bucket/results!write    results may be written there too
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

PORTS = {"https": 443, "http": 80}
STORES = ("s3", "gs", "az")
_ENTRY = re.compile(r"(?:(?P<scheme>[a-z0-9]+)://)?(?P<rest>[^!\s]+)(?P<flags>(?:![a-z]+)*)")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST = re.compile(rf"(?P<host>\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>\d{{1,5}}))?")
_BUCKET = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9._-]{1,62})(?:/(?P<folder>[^?#]*))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HostRule:
    """One allowed host: its scheme, name or pattern, and port; `private`: its addresses need not be public."""

    scheme: str
    host: str
    port: int
    private: bool = False

    def matches(self, scheme: str, host: str, port: int, *, is_address: bool) -> bool:
        """Return whether the rule allows a URL with these parts; patterns match names and no IP addresses."""
        if (scheme, port) != (self.scheme, self.port):
            return False
        if not self.host.startswith("*"):
            return host == self.host
        return not is_address and (self.host == "*" or host.endswith(self.host[1:]))


@dataclass(frozen=True, slots=True)
class BucketRule:
    """One allowed bucket, or a folder of it; `write`: results may be written there."""

    store: str
    bucket: str
    folder: str = ""
    write: bool = False

    def matches(self, store: str, bucket: str, key: str) -> bool:
        """Return whether the rule allows an object."""
        below = not self.folder or key == self.folder or key.startswith(f"{self.folder}/")
        return (store, bucket) == (self.store, self.bucket) and below


@dataclass(frozen=True, slots=True)
class FetchRules:
    """All rules; without any, nothing is downloaded."""

    hosts: tuple[HostRule, ...] = ()
    buckets: tuple[BucketRule, ...] = ()


@lru_cache(maxsize=8)
def parse(text: str) -> FetchRules:
    """Return the rules in the value of CLIPSTACK_FETCH, separated by commas; raises ValueError."""
    hosts, buckets = [], []
    for entry in filter(None, map(str.strip, text.split(","))):
        rule = _rule(entry)
        if isinstance(rule, HostRule):
            hosts.append(rule)
        else:
            buckets.append(rule)
    return FetchRules(tuple(hosts), tuple(buckets))


def _rule(entry: str) -> HostRule | BucketRule:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(f"{entry} is no host and no bucket: write media.example.com or s3://bucket")
    scheme, flags = match["scheme"] or "https", match["flags"].split("!")[1:]
    known = "write" if scheme in STORES else "private"
    if unknown := [flag for flag in flags if flag != known]:
        raise ValueError(f"{entry}: there is no !{unknown[0]} for {scheme}://, only !{known}")
    if scheme in STORES:
        return _bucket_rule(entry, scheme, match["rest"], bool(flags))
    if scheme not in PORTS:
        raise ValueError(f"{entry}: must begin with https://, http://, s3://, gs:// or az://")
    return _host_rule(entry, scheme, match["rest"].lower(), bool(flags))


def _host_rule(entry: str, scheme: str, rest: str, private: bool) -> HostRule:
    match = _HOST.fullmatch(rest.removesuffix("."))
    if match is None:
        raise ValueError(f"{entry} is not a host name: write media.example.com, *.example.com or [2001:db8::1]")
    port = int(match["port"] or PORTS[scheme])
    if not 1 <= port <= 65535:
        raise ValueError(f"{entry}: the port must be between 1 and 65535")
    if match["host"] == "*" and private:
        raise ValueError(f"{entry} would open every private address: name the hosts")
    host = str(IPv6Address(match["host"][1:-1])) if match["host"].startswith("[") else match["host"]
    return HostRule(scheme, host, port, private)


def _bucket_rule(entry: str, store: str, rest: str, write: bool) -> BucketRule:
    match = _BUCKET.fullmatch(rest)
    if match is None:
        raise ValueError(f"{entry} is not a bucket: write {store}://bucket or {store}://bucket/folder")
    return BucketRule(store, match["bucket"], (match["folder"] or "").strip("/"), write)
