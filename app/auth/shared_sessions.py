"""Browser sessions in the shared state, so that a login at one node holds at all."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from app.auth.keys import Key
from app.auth.sessions import LIFETIME_S, MAX_SESSIONS_PER_KEY, Session, Sessions, is_token, parse_session
from app.errors import Unavailable
from app.files import DamagedFile
from app.nodes.shared_state import PREFIX, SharedState, SharedStateAway


class SharedSessions(Sessions):
    """All sessions, in Redis; every method raises Unavailable while it is away."""

    def __init__(self, state: SharedState) -> None:
        self._state = state

    def create(self, key: Key) -> str:
        """Start a session for `key` and return its token."""
        token, now = secrets.token_urlsafe(32), time.time()
        session = Session(key.id, key.sha256, now + LIFETIME_S, secrets.token_urlsafe(24))
        name, of_key = _name(token), f"{PREFIX}sessions:{key.id}"

        def operation(redis: Any) -> None:
            redis.set(name, json.dumps(asdict(session)), ex=int(LIFETIME_S))
            redis.zremrangebyscore(of_key, "-inf", now)
            redis.zadd(of_key, {name: session.ends})
            redis.expire(of_key, int(LIFETIME_S))
            if oldest := redis.zrange(of_key, 0, -MAX_SESSIONS_PER_KEY - 1):
                redis.delete(*oldest)
                redis.zrem(of_key, *oldest)

        self._call(operation)
        return token

    def find(self, token: str) -> Session | None:
        """Return the session of a token, None if it is unknown, damaged or over."""
        if not is_token(token):
            return None
        content = self._call(lambda redis: redis.get(_name(token)))
        try:
            session = parse_session(content) if content else None
        except DamagedFile:
            return None
        return session if session and session.ends > time.time() else None

    def remove(self, token: str) -> None:
        """End the session of a token, if there is one."""
        if is_token(token):
            self._call(lambda redis: redis.delete(_name(token)))

    def _call(self, operation: Callable[[Any], Any]) -> Any:
        try:
            return self._state.call(operation)
        except SharedStateAway:
            raise Unavailable("logins cannot be checked now; please try again in a moment") from None


def _name(token: str) -> str:
    return f"{PREFIX}session:{hashlib.sha256(token.encode()).hexdigest()}"
