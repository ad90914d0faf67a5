"""Browser sessions in the shared state, so that a login at one node holds at all."""

import time
from collections.abc import Callable
from typing import Any

from app.auth.sessions import LIFETIME_S, MAX_SESSIONS_PER_KEY, Session, Sessions, to_json
from app.errors import Unavailable
from app.nodes.shared_state import PREFIX, SharedState, SharedStateAway


class SharedSessions(Sessions):
    """All sessions, in Redis; every method raises Unavailable while it is away."""

    def __init__(self, state: SharedState) -> None:
        self._state, self._life_s = state, LIFETIME_S

    def _write(self, name: str, session: Session) -> None:
        name, of_key = f"{PREFIX}session:{name}", f"{PREFIX}sessions:{session.key}"

        def operation(redis: Any) -> None:
            redis.set(name, to_json(session), ex=int(LIFETIME_S))
            redis.zremrangebyscore(of_key, "-inf", time.time())
            redis.zadd(of_key, {name: session.ends})
            redis.expire(of_key, int(LIFETIME_S))
            if oldest := redis.zrange(of_key, 0, -MAX_SESSIONS_PER_KEY - 1):
                redis.delete(*oldest)
                redis.zrem(of_key, *oldest)

        self._call(operation)

    def _read(self, name: str) -> bytes | None:
        content: bytes | None = self._call(lambda redis: redis.get(f"{PREFIX}session:{name}"))
        return content

    def _remove(self, name: str) -> None:
        self._call(lambda redis: redis.delete(f"{PREFIX}session:{name}"))

    def _call(self, operation: Callable[[Any], Any]) -> Any:
        try:
            return self._state.call(operation)
        except SharedStateAway:
            raise Unavailable("logins cannot be checked now; please try again in a moment") from None
