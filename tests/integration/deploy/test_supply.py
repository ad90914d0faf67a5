"""docs/supply.md lists the installed software, and every licence is an expected one."""

from __future__ import annotations

import re
import tomllib
from datetime import date

import pytest

from deploy.supply import licences, page, parts
from deploy.supply.audit import NOT_CHECKED, Audit, Waiver, parse, read_waivers, verdict
from deploy.supply.licences import locks, pins
from tests.conftest import CHECKOUT

TODAY = date(2026, 11, 21)
WAIVED = Waiver("PYSEC-1", "flask", "no cookie is used", date(2026, 12, 1))


def test_page_has_the_installed_versions() -> None:
    result = dict(re.findall(r"^\| ([^|]+) \| (?:web|triton) \| ([^|]+) \|$", page.PAGE.read_text(), re.MULTILINE))
    here = parts.versions()
    assert result.keys() == here.keys(), "run `make supply`"
    if "+deb12u" in here["nginx of Debian"]:  # a newer update of Debian is fine
        assert _update(here["nginx of Debian"]) >= 10, "apt-get install --only-upgrade nginx-light"
    del result["nginx of Debian"], here["nginx of Debian"]
    assert result == here, "run `make supply`, and look at the known faults again"


def _update(version: str) -> int:
    return int(version.rpartition("+deb12u")[2])


def test_no_version_is_unknown() -> None:
    assert [name for name, version in parts.versions().items() if version in (parts.ABSENT, "no version")] == []


def test_decord_still_has_the_avoided_fault() -> None:
    assert parts.ffmpeg_version("decord2") == "8.1.1", "is CVE-2026-8461 mended there? then docs/supply.md can say so"


def test_the_page_has_every_package_with_its_licence() -> None:
    text = page.PAGE.read_text()
    missing = [line for line in licences.table() if line not in text]
    assert missing == [], "run `make supply`"


def test_every_licence_is_known_and_expected() -> None:
    allowed = licences.read_table()[0]
    assert {package: words for package, words in licences.licences().items() if not _joined(words) <= allowed} == {}


def _joined(expression: str) -> set[str]:
    """Return the licences that an SPDX expression joins by AND or OR."""
    return {part.strip("() ") for part in expression.replace(" OR ", " AND ").split(" AND ")}


def test_unlisted_licence_is_unexpected() -> None:
    assert not _joined("MIT OR AGPL-3.0-only") <= licences.read_table()[0]
    assert licences.licence_of("no-such-package", {}) == licences.UNKNOWN


@pytest.mark.parametrize("package", ["av", "decord2"])
def test_documented_ffmpeg_licence_is_right(package: str) -> None:
    assert parts.call(package, "libavutil", "avutil_license") == "LGPL version 3 or later"
    assert parts.library(package, "libx264") and parts.library(package, "libx265")
    assert "--enable-gpl" not in parts.call(package, "libavutil", "avutil_configuration")


def test_the_images_and_make_sbom_use_one_tool() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (pinned,) = re.findall(r"^cyclonedx-bom==.*$", (CHECKOUT / "deploy" / "sbom.txt").read_text(), re.MULTILINE)
    assert pinned in project["audit"]


def test_every_lock_is_read_whole() -> None:
    for lock in locks():
        entries = re.findall(r"^[A-Za-z0-9]", lock.read_text(), re.MULTILINE)
        assert len(pins(lock)) == len(entries)


def test_packages_without_an_answer_are_not_checked() -> None:
    report = '{"dependencies": [{"name": "flask", "version": "3", "vulns": []}, {"name": "av", "skip_reason": "gone"}]}'
    audit = parse(report, "", ["flask", "av", "numpy"])
    assert audit == Audit(unchecked={"av": "gone", "numpy": "pip-audit did not report it"}, checked=1)
    status, lines = verdict(audit, [], TODAY)
    assert status == NOT_CHECKED and "not checked: 2 of 3" in lines[0]


def test_unreachable_advisory_service_does_not_pass() -> None:
    status, lines = verdict(parse("", "ConnectionError: no route\n", ["flask"]), [], TODAY)
    assert (status, lines[1]) == (NOT_CHECKED, "ConnectionError: no route")


@pytest.mark.parametrize(
    ("waivers", "status", "message"),
    [
        ([], 1, "flask: PYSEC-1"),
        ([WAIVED], 0, "1 packages checked: no known vulnerability without a waiver"),
        ([Waiver("PYSEC-1", "flask", "", date(2026, 11, 1))], 1, "the waiver of PYSEC-1 in flask has expired"),
        ([Waiver("PYSEC-2", "flask", "", date(2027, 1, 1))], 1, "flask: PYSEC-1"),
    ],
    ids=["no waiver", "waived", "expired waiver", "waiver of another"],
)
def test_vulnerability_fails_without_a_valid_waiver(waivers: list[Waiver], status: int, message: str) -> None:
    audit = Audit(vulnerabilities={"flask": ["PYSEC-1"]}, checked=1)
    assert verdict(audit, waivers, TODAY)[0] == status
    assert message in verdict(audit, waivers, TODAY)[1]


def test_no_waiver_has_expired() -> None:
    assert [waiver.id for waiver in read_waivers() if waiver.expires < date.today()] == []
    assert all(waiver.reason for waiver in read_waivers())
