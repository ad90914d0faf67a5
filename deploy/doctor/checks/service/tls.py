"""Checks of TLS: certificate and key are readable, belong together, have not expired and fit the requested name."""

import ipaddress
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context, Skipped
from deploy.nginx import tls

RELOAD = "`.venv/bin/supervisorctl -c supervisor/supervisord.conf signal HUP nginx`"

UNREADABLE = KnownIssue(
    name="certificate unreadable",
    symptom="`make up` refuses to start. After a renewal nginx does not start again.",
    message="{reason}.",
    fix="Correct the path, or let the user that starts the stack read the file and enter its folders "
    "(`namei -l FILE` shows them).",
)
KEY_MISMATCH = KnownIssue(
    name="key of another certificate",
    symptom="`make up` refuses to start. After a renewal nginx keeps the old certificate.",
    message="{reason}.",
    fix="Set CLIPSTACK_TLS_KEY to the certificate's own key. For the right pair `openssl x509 -noout -pubkey -in CERT` "
    "and `openssl pkey -pubout -in KEY` print the same.",
)
UNUSABLE = KnownIssue(
    name="certificate unusable",
    symptom="`make up` refuses to start and names the file.",
    message="{reason}.",
    fix="Use a certificate with its chain, and a key without a passphrase, both in PEM format (docs/access.md).",
)
EXPIRED = KnownIssue(
    name="certificate expired",
    symptom="Browsers warn, clients refuse to connect.",
    message="{reason}.",
    fix=f"Renew the certificate, then make nginx read it: {RELOAD}.",
)
EXPIRES_SOON = known_warning(
    name="certificate expires soon",
    symptom="Nothing yet. Later browsers warn and clients refuse to connect.",
    message="The certificate {cert} expires in {days:.0f} days.",
    fix=f"Check that it is renewed automatically, and that nginx then reads it: {RELOAD}.",
)
NO_NAMES = KnownIssue(
    name="certificate without names",
    symptom="Every browser and client refuses the certificate, whoever signed it.",
    message="The certificate {cert} has no subjectAltName. Clients ignore the name in its subject.",
    fix="Request a certificate with subjectAltName (`openssl req -addext subjectAltName=DNS:NAME`).",
)
NAME_MISMATCH = KnownIssue(
    name="certificate of another name",
    symptom="Browsers warn, clients refuse to connect.",
    message="Clients connect to {name} ({setting}), but the certificate is for {names}.",
    fix="Request a certificate whose subjectAltName includes {name}, or connect to one of its names.",
)

CHECKS = Checks()


@CHECKS.add("certificate", UNREADABLE, KEY_MISMATCH, UNUSABLE, EXPIRED, EXPIRES_SOON)
def certificate(context: Context) -> Iterator[Finding]:
    """Check that the certificate and its key work, and when the certificate expires."""
    context.require_web()
    if not context.settings.tls:
        yield ok("TLS is off")
        return
    cert, key = context.settings.tls_cert, context.settings.tls_key
    try:
        days = (tls.check(cert, key) - time.time()) / 86_400
    except tls.Unusable as error:
        issues = {tls.Unreadable: UNREADABLE, tls.KeyMismatch: KEY_MISMATCH, tls.Expired: EXPIRED}
        yield issues.get(type(error), UNUSABLE).finding(reason=error)
        return
    if days * 86_400 < tls.SOON_S:
        yield EXPIRES_SOON.finding(cert=cert, days=days)
    yield ok(f"certificate and key belong together; valid for {days:.0f} more days")


@CHECKS.add("certificate's names", NO_NAMES, NAME_MISMATCH)
def names(context: Context) -> Iterator[Finding]:
    """Check that the certificate is valid for the names that clients use."""
    context.require_web()
    if not context.settings.tls:
        yield ok("TLS is off")
        return
    cert, key = context.settings.tls_cert, context.settings.tls_key
    try:
        valid = tls.names(cert, key)
    except tls.Unusable as error:
        raise Skipped(f"the certificate cannot be used: {error}") from error
    if not valid:
        yield NO_NAMES.finding(cert=cert)
        return
    for setting, host in _client_hosts(context):
        if not tls.fits(cert, key, host):
            yield NAME_MISMATCH.finding(name=host, setting=setting, names=", ".join(valid))
    yield ok(f"the certificate is for {', '.join(valid)}")


def _client_hosts(context: Context) -> Iterator[tuple[str, str]]:
    """Yield the known names that clients use: the host of CLIPSTACK_URL, and CLIPSTACK_HOST when it is a name."""
    url = urlsplit(context.environment.get("CLIPSTACK_URL", ""))
    if url.scheme == "https" and url.hostname:
        yield "CLIPSTACK_URL", url.hostname
    host = context.settings.host.strip("[]")
    try:
        ipaddress.ip_address(host)  # clients do not use the listening address as a name
    except ValueError:
        yield "CLIPSTACK_HOST", host
