"""URLs that must reach nothing private: each with the status and the code of its answer."""

from __future__ import annotations

from urllib.parse import quote

SITE = "http://public.example"

NAMES: dict[str, tuple[str, ...]] = {
    "public.example": ("93.184.216.34",),
    "second.example": ("93.184.216.35",),
    "loopback.example": ("127.0.0.1",),
    "loopback-six.example": ("::1",),
    "ten.example": ("10.0.0.1",),
    "hundred.example": ("100.64.0.1",),
    "metadata.example": ("169.254.169.254",),
    "azure.example": ("168.63.129.16",),
    "unique-local.example": ("fd00::1",),
    "metadata-six.example": ("fd00:ec2::254",),
    "mapped.example": ("::ffff:127.0.0.1",),
    "nat64.example": ("64:ff9b::7f00:1",),
    "six-to-four.example": ("2002:7f00:1::1",),
    "unspecified.example": ("0.0.0.0",),
    "unspecified-six.example": ("::",),
    "broadcast.example": ("255.255.255.255",),
    "multicast.example": ("224.0.0.1",),
    "mixed.example": ("93.184.216.34", "127.0.0.1"),
    "mixed-six.example": ("93.184.216.34", "::1"),
    "changes.example": ("93.184.216.34>127.0.0.1",),
    "changes-to-ten.example": ("93.184.216.34>10.0.0.1",),
    "silent.example": ("silent",),
}

JOBS = {
    "http://127.0.0.1/": "refused: host_not_allowed",
    "file:///etc/passwd": "refused: invalid_url",
    "http://loopback.example/": "failed: address_not_allowed",
    f"{SITE}/redirect?to=http://loopback.example/": "failed: address_not_allowed",
    f"{SITE}/status/404": "failed: source_status",
    f"{SITE}/clip.mp4": "done: None",
}

INVALID, HOST, ADDRESS = (400, "invalid_url"), (403, "host_not_allowed"), (403, "address_not_allowed")
UNREACHABLE, TIMEOUT = (422, "source_unreachable"), (422, "fetch_timeout")


def _redirect(target: str) -> str:
    return f"{SITE}/redirect?to={quote(target, safe=':/')}"


HOSTILE: dict[str, tuple[int, str]] = {
    # Literals, and what inet_aton() and browsers make addresses of
    "http://127.0.0.1/": HOST,
    "http://127.0.0.1:8000/": HOST,
    "http://10.0.0.1/": HOST,
    "http://169.254.169.254/latest/meta-data/": HOST,
    "http://[::1]/": HOST,
    "http://[::ffff:127.0.0.1]/": HOST,
    "http://[64:ff9b::7f00:1]/": HOST,
    "http://[fd00:ec2::254]/": HOST,
    "http://2130706433/": INVALID,
    "http://0x7f000001/": INVALID,
    "http://0177.0.0.1/": INVALID,
    "http://127.1/": INVALID,
    "http://0/": INVALID,
    "http://１２７.０.０.１/": INVALID,
    "http://[fe80::1%25lo]/": INVALID,
    # Two parsers, two hosts
    "http://public.example@127.0.0.1/": INVALID,
    "http://127.0.0.1\\@public.example/": INVALID,
    "http://public.example:80:127.0.0.1/": INVALID,
    "http://127.0.0.1\t.example/": INVALID,
    "http://public.example/\r\nHost: localhost": INVALID,
    "http://user:secret@public.example/": INVALID,
    # Other schemes and ports
    "file:///etc/passwd": INVALID,
    "ftp://public.example/clip.mp4": INVALID,
    "gopher://127.0.0.1:6379/_INFO": INVALID,
    "http+unix://%2Frun%2Fclipstack%2Fweb.sock/": INVALID,
    "http://public.example:8000/": HOST,
    "s3://bucket/key": HOST,
    # Names
    "http://localhost/": ADDRESS,
    "http://localhost./": ADDRESS,
    "http://LOCALHOST/": ADDRESS,
    "http://ⓛocalhost/": ADDRESS,
    "http://loopback.example/": ADDRESS,
    "http://loopback-six.example/": ADDRESS,
    "http://ten.example/": ADDRESS,
    "http://hundred.example/": ADDRESS,
    "http://metadata.example/latest/meta-data/": ADDRESS,
    "http://azure.example/": ADDRESS,
    "http://unique-local.example/": ADDRESS,
    "http://metadata-six.example/": ADDRESS,
    "http://mapped.example/": ADDRESS,
    "http://nat64.example/": ADDRESS,
    "http://six-to-four.example/": ADDRESS,
    "http://unspecified.example/": ADDRESS,
    "http://unspecified-six.example/": ADDRESS,
    "http://broadcast.example/": ADDRESS,
    "http://multicast.example/": ADDRESS,
    "http://mixed.example/": ADDRESS,
    "http://mixed-six.example/": ADDRESS,
    "http://nowhere.example/": UNREACHABLE,
    "http://silent.example/": TIMEOUT,
    # Redirects, and names that change
    _redirect("http://127.0.0.1/"): HOST,
    _redirect("http://[::1]/"): HOST,
    _redirect("http://169.254.169.254/"): HOST,
    _redirect("http://localhost/"): ADDRESS,
    _redirect("http://loopback.example/"): ADDRESS,
    _redirect(_redirect("http://ten.example/")): ADDRESS,
    _redirect("//loopback.example/"): ADDRESS,
    _redirect("http://2130706433/"): INVALID,
    _redirect("file:///etc/passwd"): INVALID,
    "http://changes.example/again": ADDRESS,
    "http://changes-to-ten.example/again": ADDRESS,
    # Bodies
    f"{SITE}/again": (422, "too_many_redirects"),
    f"{SITE}/endless": (413, "source_too_large"),
    f"{SITE}/huge": (413, "source_too_large"),
    f"{SITE}/endless-headers": UNREACHABLE,
    f"{SITE}/garbage": UNREACHABLE,
    f"{SITE}/short": UNREACHABLE,
    f"{SITE}/gzip": (422, "source_encoded"),
    f"{SITE}/slow": TIMEOUT,
    f"{SITE}/slow-headers": TIMEOUT,
    f"{SITE}/silent": TIMEOUT,
    f"{SITE}/status/404": (422, "source_status"),
    f"{SITE}/empty": (400, "empty_file"),
}
