"""What the doctor says of a certificate and its key, each broken in turn."""

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


def clothed(folder: Path, pair: Pair, url: str = "", **settings: object) -> Context:
    """A healthy context with this certificate and key."""
    context = healthy(folder / "home", tls_cert=pair.cert, tls_key=pair.key, **settings)
    context.environment.update({"CLIPSTACK_URL": url} if url else {})
    return context


def test_a_good_pair_is_well(folder: Path) -> None:
    context = clothed(folder, made(folder / "tls", days=90), url="https://localhost:8443")
    assert [report.verdict for report in run_checks(context, tls.CHECKS)] == ["ok", "ok"]


def test_without_tls_all_is_well(folder: Path) -> None:
    assert {report.verdict for report in run_checks(healthy(folder / "home"), tls.CHECKS)} == {"ok"}


@pytest.mark.parametrize("which", ["cert", "key"])
def test_a_file_that_is_gone(folder: Path, which: str) -> None:
    pair = made(folder / "tls", days=90)
    getattr(pair, which).unlink()
    context = clothed(folder, pair)
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
    context = clothed(folder, breaks(folder, made(folder / "tls", days=90)))
    assert found(context, CERTIFICATE) == {fault.name}
    assert words(context, CERTIFICATE, fault)


def test_one_of_fifteen_days_is_left_alone(folder: Path) -> None:
    assert found(clothed(folder, made(folder / "tls", days=15)), CERTIFICATE) == set()


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
def test_the_name_that_people_ask_for(folder: Path, url: str, host: str, faults: set[str]) -> None:
    pair = made(folder / "tls", days=90, names="DNS:clips.example,DNS:*.clips.example")
    assert found(clothed(folder, pair, url, host=host), NAME) == faults


def test_a_certificate_without_names(folder: Path) -> None:
    assert found(clothed(folder, made(folder / "tls", days=90, names="")), NAME) == {tls.NO_NAMES.name}
