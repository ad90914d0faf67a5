"""Sessions of the page: a random token in a cookie, and what it stands for in a file that all workers see.

The file's name is the token's hash: who can list the folder cannot become anybody. A session belongs to one secret of
one key, so it ends when that key is revoked or gets another secret, and in any case after LIFE_S.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.access.keys import Key

LIFE_S = 12 * 3600.0
MOST_OF_A_KEY = 50  # the oldest end
_TOKEN = re.compile(r"[\w-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Session:
    """A person at the page: whose key, until when (seconds since the epoch), and what their forms must carry."""

    key: str
    sha256: str
    ends: float
    csrf: str


class Sessions:
    """All sessions, in files in `folder`."""

    def __init__(self, folder: Path, life_s: float = LIFE_S) -> None:
        self._folder, self._life_s = folder, life_s

    def begin(self, key: Key) -> str:
        """The token of a new session."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tidy(key.id)
        token = secrets.token_urlsafe(32)
        session = Session(key.id, key.sha256, time.time() + self._life_s, secrets.token_urlsafe(24))
        path = self._path(token)
        fresh = path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(asdict(session), file)
        fresh.replace(path)
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token, unless it is over."""
        if not _TOKEN.fullmatch(token):
            return None
        session = _read(self._path(token))
        return session if session and session.ends > time.time() else None

    def end(self, token: str) -> None:
        if _TOKEN.fullmatch(token):
            self._path(token).unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        return self._folder / hashlib.sha256(token.encode()).hexdigest()

    def _tidy(self, key: str) -> None:
        """Removes what is over, and of `key` all but the newest."""
        mine = []
        for path in self._folder.iterdir():
            session = _read(path)
            if session is None or session.ends <= time.time():
                if session or time.time() - _age(path) > self._life_s:  # a new one may be being written
                    path.unlink(missing_ok=True)
            elif session.key == key:
                mine.append((session.ends, path))
        for _, path in sorted(mine)[: max(0, len(mine) - MOST_OF_A_KEY + 1)]:
            path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return time.time()


def _read(path: Path) -> Session | None:
    try:
        return Session(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
