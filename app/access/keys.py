"""API keys: made once, shown once, kept as hashes in one file that every worker reads anew when it changes.

clipstack_<id>_<secret>      id: 8 letters and digits, no secret, finds the row; secret: 160 random bits in base32

A plain SHA-256 is right here. Slow hashes (bcrypt, scrypt, Argon2) make up for passwords that can be guessed; nobody
guesses 160 random bits, and a slow hash at every request would be a way to keep the service busy.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.errors import KeysUnreadable

PREFIX = "clipstack"
LANES = ("picture", "short", "long", "jobs")  # those of app/lanes.py in their order, and whole timelines
ID_BYTES, SECRET_BYTES = 5, 20
_FORM = re.compile(rf"{PREFIX}_([a-z2-7]{{8}})_[a-z2-7]{{32}}")
_NOBODY = hashlib.sha256(b"").hexdigest()  # compared with where there is no such key: that takes as long


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key: `sha256` of the whole text, and what its owner may do.

    `rate` is in uploads a second with bursts of `burst`, `concurrent` uploads at the same time; None means no rate, or
    the usual share. `lanes` None means all of LANES.
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
        return self.lanes is None or lane in self.lanes


def fresh(identity: str | None = None) -> tuple[str, str, str]:
    """A new key of a new id, or of the one named: its id, its whole text, and the hash of that."""
    identity = identity or _letters(ID_BYTES)
    text = f"{PREFIX}_{identity}_{_letters(SECRET_BYTES)}"
    return identity, text, digest(text)


def digest(text: str) -> str:
    """What is kept of a key's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _letters(count: int) -> str:
    return base64.b32encode(secrets.token_bytes(count)).decode().lower()


class KeyFile:
    """The keys in the file at `path`; none while there is no such file. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._keys: Mapping[str, Key] = {}

    def all(self) -> Mapping[str, Key]:
        """Every key by its id, as the file has them now; raises KeysUnreadable.

        Costs one `stat` (2 µs) while nothing changes. The file is only ever replaced as a whole, so a new one has
        another inode.
        """
        try:
            told = self.path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise KeysUnreadable("the keys cannot be read now") from error
        now = (told.st_ino, told.st_mtime_ns, told.st_size)
        with self._lock:
            if now != self._seen:
                self._keys = self._read()
                self._seen = now
            return self._keys

    def find(self, text: str) -> Key | None:
        """The key of this text; None when it has not the form of one, is not known, or was revoked."""
        form = _FORM.fullmatch(text)
        if form is None:
            return None
        key = self.all().get(form[1])
        good = hmac.compare_digest(digest(text), key.sha256 if key else _NOBODY)
        return key if good else None

    def _read(self) -> Mapping[str, Key]:
        try:
            told = json.loads(self.path.read_bytes())["keys"]
            keys = (Key(**{**each, "lanes": each["lanes"] and tuple(each["lanes"])}) for each in told)
            return {key.id: key for key in keys}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeysUnreadable("the keys cannot be read now") from error
