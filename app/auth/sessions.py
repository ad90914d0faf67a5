"""Browser sessions: a random token in a cookie, and a file for each that all workers read.

The file's name is the token's hash, so reading the folder does not reveal a token. A session belongs to one secret
of one key: it ends when that key is revoked or rotated, and after LIFETIME_S in any case. Files are not fsynced: after
a power loss people log in again at most.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.auth.keys import Key
from app.damaged import set_aside
from app.files import DamagedFile, read_file, write_file

LIFETIME_S = 12 * 3600.0
MAX_SESSIONS_PER_KEY = 50  # a new session ends the oldest
MAX_FILE_BYTES = 64 << 10
_TOKEN = re.compile(r"[\w-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in browser: its key and the key's hash, its end (seconds since the epoch), its CSRF token."""

    key: str
    sha256: str
    ends: float
    csrf: str


class Sessions:
    """All sessions, in files in `folder`."""

    def __init__(self, folder: Path, life_s: float = LIFETIME_S) -> None:
        self._folder, self._life_s = folder, life_s

    def create(self, key: Key) -> str:
        """Start a session for `key` and return its token."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_expired(key.id)
        token = secrets.token_urlsafe(32)
        session = Session(key.id, key.sha256, time.time() + self._life_s, secrets.token_urlsafe(24))
        write_file(self._path(token), json.dumps(asdict(session)).encode(), mode=0o600)
        return token

    def find(self, token: str) -> Session | None:
        """Return the session of a token, None if it is unknown, damaged or over."""
        if not is_token(token):
            return None
        try:
            session = _read(self._path(token))
        except DamagedFile:  # `create` sets it aside
            return None
        return session if session and session.ends > time.time() else None

    def remove(self, token: str) -> None:
        """End the session of a token, if there is one."""
        if is_token(token):
            self._path(token).unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        return self._folder / hashlib.sha256(token.encode()).hexdigest()

    def _remove_expired(self, key: str) -> None:
        """Remove expired sessions, and all but the newest of `key`; set damaged files aside."""
        sessions_of_key = []
        for path in self._folder.iterdir():
            try:
                session = _read(path)
            except DamagedFile as error:
                # Another process may be writing a recent file with a suffix.
                if not path.suffix or time.time() - _age(path) > self._life_s:
                    set_aside(path, self._folder.parent, "session", error)
                continue
            if session is None:
                continue
            if session.ends <= time.time():
                path.unlink(missing_ok=True)
            elif session.key == key:
                sessions_of_key.append((session.ends, path))
        for _, path in sorted(sessions_of_key)[: max(0, len(sessions_of_key) - MAX_SESSIONS_PER_KEY + 1)]:
            path.unlink(missing_ok=True)


def is_token(text: str) -> bool:
    """Return whether `text` has the form of a token."""
    return bool(_TOKEN.fullmatch(text))


def _age(path: Path) -> float:
    """Return a file's modification time in seconds since the epoch; now for a missing file."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return time.time()


def _read(path: Path) -> Session | None:
    """Return the session in a file, None when it does not exist; raises DamagedFile."""
    try:
        return parse_session(read_file(path, MAX_FILE_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedFile(f"not a session: {str(error)[:200]}") from error


def parse_session(content: bytes) -> Session:
    """Return the session that `content` describes; raises DamagedFile."""
    try:
        values = json.loads(content)
        session = Session(*(values[name] for name in ("key", "sha256", "ends", "csrf")))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedFile(f"not a session: {str(error)[:200]}") from error
    texts = (session.key, session.sha256, session.csrf)
    if not all(isinstance(text, str) and text.isascii() for text in texts) or not _is_time(session.ends):
        raise DamagedFile("its fields are not those of a session")
    return session


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
