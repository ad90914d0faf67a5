"""API keys: shown once, stored as hashes in one file that every worker reloads when it changes.

clipstack_<id>_<secret>      id: 8 letters and digits, public, finds the row; secret: 160 random bits in base32

A plain SHA-256 is enough. Slow hashes (bcrypt, scrypt, Argon2) protect guessable passwords; 160 random bits cannot
be guessed, and a slow hash at every request would let clients overload the service.
"""

import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from app.errors import KeyStoreUnavailable
from app.files import DamagedFile, read_file
from app.type_matching import matches

PREFIX = "clipstack"
LANES = ("picture", "short", "long", "jobs")  # the lanes of app/admission/queue.py in their order, then timeline jobs
ID_BYTES, SECRET_BYTES = 5, 20
_PATTERN = re.compile(rf"{PREFIX}_([a-z2-7]{{8}})_[a-z2-7]{{32}}")
_ID = re.compile(r"[a-z2-7]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_FILE_BYTES = 16 << 20
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()  # compared with for an unknown id, so that both cases take the same time

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """The stored part of a key: `sha256` of the whole text, and its limits.

    `rate` is in uploads a second, with bursts of `burst`; None means no rate limit. `concurrent` is the number of
    uploads at the same time; None means the default share. `lanes` None means all of LANES.
    """

    id: str
    name: str
    created: str
    sha256: str
    rate: float | None = None
    burst: int = 1
    concurrent: int | None = None
    lanes: tuple[str, ...] | None = None

    def may_use(self, lane: str) -> bool:
        """Return whether the key may use `lane`."""
        return self.lanes is None or lane in self.lanes


def new_secret(key_id: str | None = None) -> tuple[str, str, str]:
    """Return the id, the whole text and its hash of a new key; `key_id` keeps an existing id."""
    key_id = key_id or _letters(ID_BYTES)
    text = f"{PREFIX}_{key_id}_{_letters(SECRET_BYTES)}"
    return key_id, text, digest(text)


def digest(text: str) -> str:
    """Return the hash of a key's text that the file stores."""
    return hashlib.sha256(text.encode()).hexdigest()


def _letters(count: int) -> str:
    """Return `count` random bytes in lower-case base32."""
    return base64.b32encode(secrets.token_bytes(count)).decode().lower()


class KeyFile:
    """The keys in the file at `path`, none while it does not exist; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._version: tuple[int, int, int] | None = None
        self._keys: Mapping[str, Key] = {}
        self._damaged: tuple[str, ...] = ()

    def all(self) -> Mapping[str, Key]:
        """Return every key by its id, as the file has them now; a key with a damaged row is left out.

        Costs one `stat` (2 µs) while nothing changes. The file is only ever replaced as a whole, so a new one has
        another inode. Raises KeyStoreUnavailable if the file cannot be read, or is damaged as a whole.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise KeyStoreUnavailable("the API keys cannot be read now; please try again in a moment") from error
        version = (status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            if version != self._version:
                self._keys, self._damaged = parse_keys(read_document(self.path))
                self._version = version
                for reason in self._damaged:
                    log.error("a key in %s is damaged and lets nobody in: %s", self.path, reason)
            return self._keys

    def damaged(self) -> tuple[str, ...]:
        """Return the reason for each key that cannot be used; raises KeyStoreUnavailable."""
        self.all()
        return self._damaged

    def find(self, text: str) -> Key | None:
        """Return the key of this text; None when it is malformed, unknown or revoked."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            return None
        key = self.all().get(match[1])
        is_valid = hmac.compare_digest(digest(text), key.sha256 if key else _EMPTY_HASH)
        return key if is_valid else None


def read_document(path: Path) -> dict[str, Any]:
    """Return the file's content with its list `keys`, empty for a missing file; raises KeyStoreUnavailable."""
    try:
        document = json.loads(read_file(path, MAX_FILE_BYTES, follow_links=True))  # Kubernetes mounts secrets as links
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
            raise ValueError("it has no list of keys")
        return document
    except FileNotFoundError:
        return {"keys": []}
    except (OSError, ValueError, RecursionError, DamagedFile) as error:
        raise KeyStoreUnavailable("the API keys cannot be read now; please try again in a moment") from error


def parse_keys(document: Mapping[str, Any]) -> tuple[dict[str, Key], tuple[str, ...]]:
    """Return the keys of a document by their ids, and the reason for each damaged row.

    Unknown fields, from a newer version, are ignored. Raises KeyStoreUnavailable if there are rows and none is valid.
    """
    keys, damaged = dict[str, Key](), []
    for number, row in enumerate(document["keys"], 1):
        try:
            key = _parse(row)
            if key.id in keys:
                raise ValueError("another key has its id")
            keys[key.id] = key
        except ValueError as error:
            damaged.append(f"row {number} ({_name(row)}): {error}")
    if damaged and not keys:
        raise KeyStoreUnavailable("the API keys cannot be read now; please try again in a moment") from ValueError(
            "; ".join(damaged)[:500]
        )
    return keys, tuple(damaged)


def _parse(row: Any) -> Key:
    """Return the key of a row; raises ValueError that says what is wrong."""
    if not isinstance(row, dict):
        raise ValueError("it is not a JSON object")
    if missing := [name for name in ("id", "name", "created", "sha256") if name not in row]:
        raise ValueError(f"it has no {missing[0]}")
    values = {name: row[name] for name in _TYPES if name in row}
    for name, value in values.items():
        is_valid = _CHECKS.get(name, lambda _: True)
        if not matches(value, _TYPES[name]) or (value is not None and not is_valid(value)):
            raise ValueError(f"its {name} is {str(value)[:50]!r}")
    if values.get("lanes") is not None:
        values["lanes"] = tuple(values["lanes"])
    return Key(**values)


def _name(row: Any) -> str:
    return str(row.get("name", "no name"))[:64] if isinstance(row, dict) else "no name"


_TYPES = get_type_hints(Key) | {"lanes": list[str] | None}
_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "id": _ID.fullmatch,
    "sha256": _SHA256.fullmatch,
    **dict.fromkeys(("rate", "burst", "concurrent"), lambda value: value > 0),
}
