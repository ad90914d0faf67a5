"""Browser sessions: a random token in a cookie, and a file for each that all workers read.

The file's name is the token's hash, so reading the folder does not reveal a token. A session belongs to one secret
of one key: it ends when that key is revoked or rotated, and after LIFETIME_S in any case. Files are not fsynced: after
a power loss people log in again at most.
"""

import hashlib
import json
import re
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.auth.keys import Key
from app.damaged import set_aside
from app.files import DamagedFile, read_file, write_file
from app.type_matching import matches

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
        token = secrets.token_urlsafe(32)
        self._write(_digest(token), Session(key.id, key.sha256, time.time() + self._life_s, secrets.token_urlsafe(24)))
        return token

    def find(self, token: str) -> Session | None:
        """Return the session of a token, None if it is unknown, damaged or over."""
        try:
            content = self._read(_digest(token)) if _TOKEN.fullmatch(token) else None
            session = _parse(content) if content else None
        except DamagedFile:  # `create` sets it aside
            return None
        return session if session and session.ends > time.time() else None

    def remove(self, token: str) -> None:
        """End the session of a token, if there is one."""
        if _TOKEN.fullmatch(token):
            self._remove(_digest(token))

    def _write(self, name: str, session: Session) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_expired(session.key)
        write_file(self._folder / name, to_json(session), mode=0o600)

    def _read(self, name: str) -> bytes | None:
        with suppress(OSError):
            return read_file(self._folder / name, MAX_FILE_BYTES)
        return None

    def _remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def _remove_expired(self, key: str) -> None:
        """Remove expired sessions, and all but the newest of `key`; set damaged files aside."""
        sessions_of_key = []
        for path in self._folder.iterdir():
            try:
                session = _parse(read_file(path, MAX_FILE_BYTES))
            except FileNotFoundError:
                continue
            except (DamagedFile, OSError) as error:
                # Another process may be writing a recent file with a suffix.
                if not path.suffix or time.time() - _age(path) > self._life_s:
                    set_aside(path, self._folder.parent, "session", error)
                continue
            if session.ends <= time.time():
                path.unlink(missing_ok=True)
            elif session.key == key:
                sessions_of_key.append((session.ends, path))
        for _, path in sorted(sessions_of_key)[: max(0, len(sessions_of_key) - MAX_SESSIONS_PER_KEY + 1)]:
            path.unlink(missing_ok=True)


def to_json(session: Session) -> bytes:
    """Return what is stored of a session."""
    return json.dumps(asdict(session)).encode()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _age(path: Path) -> float:
    """Return a file's modification time in seconds since the epoch; now for a missing file."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return time.time()


def _parse(content: bytes) -> Session:
    """Return the session that `content` describes; raises DamagedFile."""
    try:
        values = json.loads(content)
        session = Session(*(values[name] for name in ("key", "sha256", "ends", "csrf")))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedFile(f"not a session: {str(error)[:200]}") from error
    texts = (session.key, session.sha256, session.csrf)
    if not all(isinstance(text, str) and text.isascii() for text in texts) or not matches(session.ends, float):
        raise DamagedFile("its fields are not those of a session")
    return session
