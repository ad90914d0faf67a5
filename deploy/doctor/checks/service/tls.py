"""Checks of TLS: certificate and key are readable, belong together, have not expired and fit the requested name."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.nginx import tls

UNREADABLE = KnownIssue(
    "certificate unreadable", "wrong", "`make up` refuses to start; after a renewal nginx does not come back",
    "{why}",
    "correct the path, or let the user that starts the stack read the file and enter its folders (`namei -l FILE`)",
)  # fmt: skip
ANOTHER_KEY = KnownIssue(
    "key of another certificate", "wrong",
    "`make up` refuses to start; after a renewal nginx keeps the old certificate",
    "{why}",
    "set CLIPSTACK_TLS_KEY to the key that the certificate was asked for with: "
    "`openssl x509 -noout -pubkey -in CERT` and `openssl pkey -pubout -in KEY` then print the same",
)  # fmt: skip
UNUSABLE = KnownIssue(
    "certificate unusable", "wrong", "`make up` refuses to start, and names the file",
    "{why}",
    "give the certificate with its chain and the key without a passphrase, both as PEM (docs/access.md)",
)  # fmt: skip
ENDED = KnownIssue(
    "certificate ended", "wrong", "browsers warn, clients refuse to connect",
    "{why}",
    "renew it, then have nginx read it: `supervisorctl -c supervisor/supervisord.conf signal HUP nginx`",
)  # fmt: skip
ENDS_SOON = KnownIssue(
    "certificate ends soon", "warning", "nothing yet; then browsers warn and clients refuse to connect",
    "the certificate {cert} ends in {days:.0f} days",
    "see that whatever renews it works, and sends nginx a HUP afterwards: "
    "`supervisorctl -c supervisor/supervisord.conf signal HUP nginx`",
)  # fmt: skip
NO_NAMES = KnownIssue(
    "certificate without names", "wrong", "every browser and client refuses the certificate, whoever has signed it",
    "the certificate {cert} has no subjectAltName; the name in its subject counts no longer",
    "have it made anew with the names in subjectAltName (`openssl req -addext subjectAltName=DNS:NAME`)",
)  # fmt: skip
ANOTHER_NAME = KnownIssue(
    "certificate of another name", "wrong", "browsers warn, clients refuse to connect",
    "people ask for {name} ({variable}), and the certificate is for {names}",
    "have {name} among its names (subjectAltName), or ask for one of those that are",
)  # fmt: skip


def usable(patient: Context) -> Iterator[Finding]:
    """Check that the certificate and its key work, and when the certificate expires."""
    if not _has_tls(patient):
        yield fine("TLS is not switched on")
        return
    cert, key = patient.settings.tls_cert, patient.settings.tls_key
    try:
        left_s = tls.check(cert, key) - time.time()
    except tls.Unusable as error:
        kinds = {tls.Unreadable: UNREADABLE, tls.AnotherKey: ANOTHER_KEY, tls.Ended: ENDED}
        yield kinds.get(type(error), UNUSABLE).found(why=error)
        return
    if left_s < tls.SOON_S:
        yield ENDS_SOON.found(cert=cert, days=left_s / 86_400)
    yield fine(f"the certificate and its key belong together, for {left_s / 86_400:.0f} days to come")


def name(patient: Context) -> Iterator[Finding]:
    """Check that the certificate is valid for the names that clients use."""
    if not _has_tls(patient):
        yield fine("TLS is not switched on")
        return
    cert, key = patient.settings.tls_cert, patient.settings.tls_key
    try:
        names = tls.names(cert, key)
    except tls.Unusable as error:
        raise Skipped(f"the certificate cannot be used: {error}") from error
    if not names:
        yield NO_NAMES.found(cert=cert)
        return
    for variable, host in _asked(patient):
        if not tls.fits(cert, key, host):
            yield ANOTHER_NAME.found(name=host, variable=variable, names=", ".join(names))
    yield fine(f"the certificate is for {', '.join(names)}")


def _has_tls(patient: Context) -> bool:
    if not patient.has_web:
        raise Skipped("nginx and web are in another container")
    return patient.settings.tls


def _asked(patient: Context) -> Iterator[tuple[str, str]]:
    """Yield the known names that clients use: the host of CLIPSTACK_URL, and CLIPSTACK_HOST when it is a name."""
    url = urlsplit(patient.environment.get("CLIPSTACK_URL", ""))
    if url.scheme == "https" and url.hostname:
        yield "CLIPSTACK_URL", url.hostname
    host = patient.settings.host.strip("[]")
    try:
        ipaddress.ip_address(host)  # clients do not use the listening address as a name
    except ValueError:
        yield "CLIPSTACK_HOST", host


CHECKS = (
    Check("certificate", usable, (UNREADABLE, ANOTHER_KEY, UNUSABLE, ENDED, ENDS_SOON)),
    Check("certificate's name", name, (NO_NAMES, ANOTHER_NAME)),
)
