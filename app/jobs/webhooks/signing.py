"""Secrets that sign webhooks, and signatures by the Standard Webhooks specification.

The file has one `whsec_...` per line. The first is the current one; each event is also signed with the others, so that
receivers can change to a new one at any time.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks import Webhook

from app.files import DamagedFile, read_file, write_file

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64  # of a secret, by the specification
MAX_SECRETS = 3
MAX_FILE = 4096


class InvalidSecret(Exception):
    """The file of secrets cannot be used; the message says why."""


def create(path: Path) -> None:
    """Write a file with one random secret, readable by this user only; keep an existing one."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path, f"{encode(secrets.token_bytes(32))}\n".encode(), durable=True, mode=0o600)


def read(path: Path) -> list[str]:
    """Return the secrets of the file, the current one first; raise InvalidSecret."""
    try:
        lines = read_file(path, MAX_FILE, follow_links=True).decode("ascii").split()
    except (OSError, DamagedFile, UnicodeDecodeError) as error:
        raise InvalidSecret(f"the secrets of webhooks cannot be read: {error}") from error
    if not 1 <= len(lines) <= MAX_SECRETS:
        raise InvalidSecret(f"{path} has {len(lines)} secrets: 1 to {MAX_SECRETS} lines of {PREFIX}... are needed")
    for number, line in enumerate(lines, 1):
        if not MIN_BYTES <= len(_decode(line)) <= MAX_BYTES:
            raise InvalidSecret(f"{path}, line {number}: needs {PREFIX} and {MIN_BYTES} to {MAX_BYTES} bytes in base64")
    return lines


def of_owner(secret: str, owner: str) -> str:
    """Return the secret of one API key, derived from the service's, so that no key can sign for another."""
    if not owner:
        return secret
    return encode(hmac.new(_decode(secret), f"owner:{owner}".encode(), hashlib.sha256).digest())


def signature_headers(secrets_in_use: Sequence[str], owner: str, event_id: str, body: str) -> dict[str, str]:
    """Return the headers that sign one attempt, at the current time."""
    now = datetime.now(UTC)
    signatures = (Webhook(of_owner(secret, owner)).sign(event_id, now, body) for secret in secrets_in_use)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def encode(key: bytes) -> str:
    """Return the text of a secret."""
    return PREFIX + base64.b64encode(key).decode()


def _decode(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except binascii.Error:
        return b""
