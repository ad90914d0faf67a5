"""Parsers of settings: each raises ValueError, with a message that says what to write, for an invalid text."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

from app.settings import fetch_rules


def between(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"must be a whole number between {low} and {high}") from None
        if not low <= value <= high:
            raise ValueError(f"must be between {low} and {high}")
        return value

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser that accepts these words only."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def absolute_path(text: str) -> Path:
    """Return the absolute path of a file or folder; `~` is the home folder."""
    return Path(text).expanduser().absolute()


def optional_path(text: str) -> str:
    """Return the absolute path as text, so that an empty default means none."""
    return str(absolute_path(text))


def host_port(text: str) -> str:
    """Check `host:port`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError("must be host:port, such as triton:8001")
    return text


NODE_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
MAX_NODES = 32


def node_name(text: str) -> str:
    """Check the name of a node."""
    if not NODE_NAME.fullmatch(text):
        raise ValueError("must be 1 to 12 lower-case letters and digits, a letter first")
    return text


def node_list(text: str) -> str:
    """Check nodes, as `a=10.0.0.1:8080`, separated by commas."""
    entries = [part.strip() for part in text.split(",") if part.strip()]
    names = [node_name(entry.partition("=")[0]) for entry in entries if host_port(entry.partition("=")[2])]
    if len(set(names)) < len(names) or len(names) > MAX_NODES:
        raise ValueError(f"must name each node once, at most {MAX_NODES}: a=10.0.0.1:8080,b=10.0.0.2:8080")
    return ",".join(entries)


def network_list(text: str) -> str:
    """Check addresses and networks, separated by commas."""
    for part in text.split(","):
        ip_network(part.strip())
    return ",".join(part.strip() for part in text.split(","))


_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:\d{1,5})?|\[[0-9a-f:.]+\](:\d{1,5})?")


def host_list(text: str) -> str:
    """Check host names, separated by commas; `*.example.com` means all subdomains."""
    names = [part.strip().lower().removesuffix(".") for part in text.split(",") if part.strip()]
    for name in names:
        if not _HOST.fullmatch(name):
            raise ValueError(f"{name} is not a host name: write clips.example.com, *.example.com or [::1], not a URL")
    return ",".join(names)


def receiver_list(text: str) -> str:
    """Check the hosts that webhooks may go to."""
    if fetch_rules.parse(text).buckets:
        raise ValueError("webhooks go to hosts, such as hooks.example.com, and not to buckets")
    return text


_ORIGIN = re.compile(rf"https?://({_HOST.pattern})")


def origin_list(text: str) -> str:
    """Check origins of web pages, separated by commas, and leave out default ports."""
    origins = [part.strip().lower() for part in text.split(",") if part.strip()]
    for origin in origins:
        if origin == "*":
            raise ValueError("* would let every web page use this service: list each origin, separated by commas")
        if "*" in origin or not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin} is not an origin: write https://app.example.com, without a path or *")
    return ",".join(re.sub("^(http://.*):80$|^(https://.*):443$", r"\1\2", origin) for origin in origins)


def source_list(text: str) -> str:
    """Check hosts and buckets for downloads, separated by commas."""
    fetch_rules.parse(text)
    return ",".join(filter(None, map(str.strip, text.split(","))))


def redis_address(text: str) -> str:
    """Check the URL of a Redis server."""
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return text


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("must be a number between 0 and 1")
    return value


def http_url(text: str) -> str:
    """Check an http or https URL."""
    if not re.fullmatch(rf"https?://{_HOST.pattern}(/[!-~]*)?", text):
        raise ValueError("must be a URL, such as http://127.0.0.1:4318")
    return text
