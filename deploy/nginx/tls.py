"""Checks of a TLS certificate and its key by an in-memory handshake between nginx's side and a client."""

import ssl
import time
from pathlib import Path
from typing import Any

SOON_S = 14 * 86_400.0
_EXPIRED, _HOST_MISMATCH, _ADDRESS_MISMATCH = 10, 62, 64  # openssl/x509_vfy.h


class Unusable(Exception):
    """The files cannot be used; the message says why and names the setting."""


class Unreadable(Unusable):
    """One of the files is missing or not readable by this user."""


class KeyMismatch(Unusable):
    """The key does not belong to the certificate."""


class NameMismatch(Unusable):
    """The certificate is not valid for the requested name."""


class Expired(Unusable):
    """The certificate has expired."""


def check(cert: str, key: str) -> float:
    """Return when the certificate expires, in seconds since the epoch; raise Unusable when it does not work.

    The name and the issuer are not checked: what a client accepts there depends on the client.
    """
    return ssl.cert_time_to_seconds(str(_certificate(cert, key)["notAfter"]))


def names(cert: str, key: str) -> list[str]:
    """Return the DNS names and IP addresses of the certificate; raise Unusable when it does not work."""
    alt_names = _certificate(cert, key).get("subjectAltName", ())
    return [str(name) for kind, name in alt_names if kind in ("DNS", "IP Address")]


def fits(cert: str, key: str, name: str) -> bool:
    """Return whether the certificate is valid for `name`; raise Unusable when it fails for any other reason."""
    try:
        _certificate(cert, key, name)
    except NameMismatch:
        return False
    return True


def unchecked() -> ssl.SSLContext:
    """Return a client context without verification, for readiness checks over loopback.

    The certificate does not name loopback, so verification would fail.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _server(cert: str, key: str) -> ssl.SSLContext:
    """Return nginx's side; raise Unusable for files that cannot be loaded."""
    for path, variable in ((cert, "CLIPSTACK_TLS_CERT"), (key, "CLIPSTACK_TLS_KEY")):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise Unreadable(f"{variable}: {path} cannot be read: {error.strerror}") from error
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(cert, key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        raise _load_error(cert, key, error) from error
    return server


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def _load_error(cert: str, key: str, error: ssl.SSLError | ValueError) -> Unusable:
    if isinstance(error, ValueError) and not isinstance(error, ssl.SSLError):
        return Unusable(f"CLIPSTACK_TLS_KEY: {key} has a passphrase, which nobody can type at the start: remove it")
    reason = getattr(error, "reason", "") or ""
    if reason == "KEY_VALUES_MISMATCH":
        return KeyMismatch(f"CLIPSTACK_TLS_KEY: {key} is not the key of the certificate {cert}")
    if "BEGIN CERTIFICATE" not in Path(cert).read_text(errors="replace"):
        return Unusable(f"CLIPSTACK_TLS_CERT: {cert} has no certificate in PEM format")
    if "PRIVATE KEY" not in Path(key).read_text(errors="replace"):
        return Unusable(f"CLIPSTACK_TLS_KEY: {key} has no private key in PEM format")
    return Unusable(f"CLIPSTACK_TLS_CERT, CLIPSTACK_TLS_KEY: {cert} and {key} cannot be used: {reason or error}")


def _certificate(cert: str, key: str, name: str = "") -> dict[str, Any]:
    """Return the certificate as a client that requests `name` sees it after a handshake."""
    server, client = _server(cert, key), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = bool(name)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trust the certificate itself, whatever its issuer
    client.load_verify_locations(cafile=cert)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_end = client.wrap_bio(to_client, to_server, server_hostname=name or None)
    ends = (client_end, server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(4):  # handshake flights; three are enough
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                raise _verification_error(cert, error) from error
            except ssl.SSLError as error:
                raise Unusable(f"CLIPSTACK_TLS_CERT: {cert} does not work: {error.reason}") from error
    return dict(client_end.getpeercert() or {})


def _verification_error(cert: str, error: ssl.SSLCertVerificationError) -> Unusable:
    errors = {_EXPIRED: Expired, _HOST_MISMATCH: NameMismatch, _ADDRESS_MISMATCH: NameMismatch}
    return errors.get(error.verify_code, Unusable)(f"CLIPSTACK_TLS_CERT: {cert}: {error.verify_message}")


def expiry_warning(cert: str, key: str) -> str | None:
    """Return a warning when the certificate expires within SOON_S, otherwise None."""
    left_s = check(cert, key) - time.time()
    return f"the certificate {cert} expires in {left_s / 86_400:.0f} days: renew it" if left_s < SOON_S else None
