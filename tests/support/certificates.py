"""Certificates for tests, made by openssl on the spot: signed by themselves or by one another."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Pair(NamedTuple):
    cert: Path
    key: Path


def made(
    folder: Path,
    *,
    days: int = 2,
    passphrase: str = "",
    names: str = "IP:127.0.0.1,DNS:localhost",
    issuer: Pair | None = None,
) -> Pair:
    """Make a certificate for `names` that expires in `days` days (negative: expired), and its key.

    `issuer` signs it, a pair from an earlier call; by default it signs itself.
    """
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder.mkdir(exist_ok=True)
    pair = Pair(folder / "cert.pem", folder / "key.pem")
    lock = ["-aes256", "-pass", f"pass:{passphrase}"] if passphrase else []
    unlock = ["-passin", f"pass:{passphrase}"] if passphrase else []
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", *lock, "-out", str(pair.key))
    subject = ("-subj", f"/CN=clipstack test {folder.name}", *(("-addext", f"subjectAltName={names}") if names else ()))
    request = ("req", "-key", str(pair.key), *unlock, *subject)
    if issuer:
        _openssl(*request, "-new", "-out", str(folder / "request.pem"))
        signer = ("-CA", str(issuer.cert), "-CAkey", str(issuer.key), "-copy_extensions", "copy")
        _openssl(
            "x509", "-req", "-in", str(folder / "request.pem"), *signer, "-days", str(days), "-out", str(pair.cert)
        )
    else:
        _openssl(*request, "-x509", "-days", str(max(1, days)), "-out", str(pair.cert))
    if days < 1:  # `req` cannot make an expired one, `x509` can
        _openssl("x509", "-in", str(pair.cert), "-signkey", str(pair.key), "-days", str(days), "-out", str(pair.cert))
    return pair


def _openssl(*words: str) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
