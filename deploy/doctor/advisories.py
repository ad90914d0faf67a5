"""Table of known vulnerabilities in components of the service, with date and source.

The table is maintained by hand, as of AS_OF. Scanners (pip-audit, an image scan) know more, but not what wheels bundle.
"""

from __future__ import annotations

from typing import NamedTuple

AS_OF = "2026-11-21"


class Advisory(NamedTuple):
    """Vulnerability in versions of `component` below `fixed`; `debian` is Debian 12's first fixed package version."""

    component: str
    fixed: str
    ids: str
    what: str
    source: str
    date: str
    debian: str = ""


ADVISORIES = (
    Advisory(
        "nginx", "1.30.1", "CVE-2026-42945", "a heap overflow in rewrites with a question mark",
        "https://nginx.org/en/security_advisories.html", "2026-05-13", "1.22.1-9+deb12u7",
    ),
    Advisory(
        "nginx", "1.30.2", "CVE-2026-9256", "a heap overflow in rewrites with captures that overlap",
        "https://nginx.org/en/security_advisories.html", "2026-05-22", "1.22.1-9+deb12u8",
    ),
    # Debian fixed it before an upstream version with the fix was known here.
    Advisory(
        "nginx", "", "CVE-2026-42533", "a buffer overflow in maps with regular expressions",
        "Debian's changelog of nginx 1.22.1-9+deb12u10", "2026-07-18", "1.22.1-9+deb12u10",
    ),
    Advisory(
        "gunicorn", "22.0.0", "CVE-2024-1135, CVE-2024-6827", "requests smuggled by Transfer-Encoding",
        "https://github.com/advisories/GHSA-w3h3-4rj7-4ph4", "2024-04-16",
    ),
    Advisory(
        "werkzeug", "3.0.6", "CVE-2024-49767", "forms that use up memory",
        "https://github.com/pallets/werkzeug/security/advisories/GHSA-q34m-jh98-gwm2", "2024-10-25",
    ),
    # 2.59.0 is release 25.06; the vulnerabilities are fixed since 25.07.
    Advisory(
        "Triton", "2.59.1", "CVE-2025-23319, -23320, -23334, -23310, -23311", "code of whoever can reach its ports",
        "https://www.cve.org/CVERecord?id=CVE-2025-23319", "2025-08-06",
    ),
    Advisory(
        "FFmpeg in av", "62.12", "CVE-2026-40962", "a write out of bounds by encrypted MP4 (FFmpeg below 8.1)",
        "https://nvd.nist.gov/vuln/detail/CVE-2026-40962", "2026-04-16",
    ),
    Advisory(
        "FFmpeg in decord2", "62.12", "CVE-2026-40962", "a write out of bounds by encrypted MP4 (FFmpeg below 8.1)",
        "https://nvd.nist.gov/vuln/detail/CVE-2026-40962", "2026-04-16",
    ),
)  # fmt: skip
