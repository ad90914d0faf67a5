"""The doctor's findings for certificates and keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.doctor.check import KnownIssue
from deploy.doctor.checks.service import tls
from deploy.doctor.context import Context
from deploy.doctor.runner import run_checks
from tests.support.certificates import Pair, made
from tests.support.doctor import found, healthy, named, words

CERTIFICATE, NAME = named("certificate", tls), named("certificate's names", tls)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path


def with_certificate(folder: Path, pair: Pair, url: str = "", **settings: object) -> Context:
    """Return a healthy context with this certificate and key."""
    context = healthy(folder / "home", tls_cert=pair.cert, tls_key=pair.key, **settings)
    context.environment.update({"CLIPSTACK_URL": url} if url else {})
    return context


def test_valid_pair_has_no_finding(folder: Path) -> None:
    context = with_certificate(folder, made(folder / "tls", days=90), url="https://localhost:8443")
    assert [report.verdict for report in run_checks(context, tls.CHECKS)] == ["ok", "ok"]


def test_no_tls_has_no_finding(folder: Path) -> None:
    assert {report.verdict for report in run_checks(healthy(folder / "home"), tls.CHECKS)} == {"ok"}


@pytest.mark.parametrize("which", ["cert", "key"])
def test_missing_certificate_file(folder: Path, which: str) -> None:
    pair = made(folder / "tls", days=90)
    getattr(pair, which).unlink()
    context = with_certificate(folder, pair)
    assert found(context, CERTIFICATE) == {tls.UNREADABLE.name}
    assert f"CLIPSTACK_TLS_{which.upper()}: " in words(context, CERTIFICATE, tls.UNREADABLE)
    assert found(context, NAME) == set()


@pytest.mark.parametrize(
    ("breaks", "fault"),
    [
        (lambda folder, pair: pair._replace(key=made(folder / "other").key), tls.KEY_MISMATCH),
        (lambda folder, pair: pair._replace(cert=pair.key, key=pair.cert), tls.UNUSABLE),
        (lambda folder, pair: made(folder / "locked", passphrase="secret"), tls.UNUSABLE),
        (lambda folder, pair: made(folder / "old", days=-1), tls.EXPIRED),
        (lambda folder, pair: made(folder / "late", days=13), tls.EXPIRES_SOON),
    ],
    ids=["key of another", "exchanged", "passphrase", "ended", "ends soon"],
)
def test_expired_and_expiring_certificates_are_reported(folder: Path, breaks, fault: KnownIssue) -> None:
    context = with_certificate(folder, breaks(folder, made(folder / "tls", days=90)))
    assert found(context, CERTIFICATE) == {fault.name}
    assert words(context, CERTIFICATE, fault)


def test_certificate_valid_for_fifteen_days_has_no_finding(folder: Path) -> None:
    assert found(with_certificate(folder, made(folder / "tls", days=15)), CERTIFICATE) == set()


@pytest.mark.parametrize(
    ("url", "host", "faults"),
    [
        ("https://clips.example", "0.0.0.0", set()),
        ("https://www.clips.example:8443/", "0.0.0.0", set()),
        ("https://other.example", "0.0.0.0", {tls.NAME_MISMATCH.name}),
        ("https://192.0.2.7", "0.0.0.0", {tls.NAME_MISMATCH.name}),
        ("http://other.example", "0.0.0.0", set()),
        ("", "192.0.2.7", set()),
        ("", "localhost", {tls.NAME_MISMATCH.name}),
    ],
)
def test_certificate_for_another_name(folder: Path, url: str, host: str, faults: set[str]) -> None:
    pair = made(folder / "tls", days=90, names="DNS:clips.example,DNS:*.clips.example")
    assert found(with_certificate(folder, pair, url, host=host), NAME) == faults


def test_a_certificate_without_names(folder: Path) -> None:
    assert found(with_certificate(folder, made(folder / "tls", days=90, names="")), NAME) == {tls.NO_NAMES.name}
