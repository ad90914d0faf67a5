"""Redis or Valkey that all nodes share. Operations fail fast, and callers then do with what this node knows."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

TIMEOUT_S = 0.5  # of a connection, and of an answer
PAUSE_S = 1.0  # after a failure, in which Redis is not asked
PREFIX = "clipstack:"

T = TypeVar("T")
log = logging.getLogger(__name__)


class SharedStateAway(Exception):
    """Redis did not answer, or not what was expected."""


class SharedState:
    """Connections to Redis at `url`, safe for several threads; `on_failure` is called for each failed operation."""

    def __init__(self, url: str, on_failure: Callable[[], None] = lambda: None) -> None:
        # Imported here: redis takes 0.1 s, which a service without it should not pay at each start
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._on_failure = on_failure
        self._failures = (redis.RedisError, OSError, ValueError)
        # The pool connects when it is used, so it may be made before a fork
        self._redis = redis.Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._is_away = False

    def call(self, operation: Callable[[Any], T]) -> T:
        """Return `operation(redis)`; raises SharedStateAway if it fails, or Redis failed less than PAUSE_S ago."""
        if time.monotonic() < self._paused_until:
            self._on_failure()
            raise SharedStateAway
        try:
            result = operation(self._redis)
        except self._failures as error:
            self._fail(error)
            raise SharedStateAway from error
        if self._is_away:
            self._is_away = False
            log.warning("Redis answers again: idempotency keys and limits of keys hold over all nodes")
        return result

    def _fail(self, error: Exception) -> None:
        self._on_failure()
        with self._lock:
            self._paused_until = time.monotonic() + PAUSE_S
            if not self._is_away:
                self._is_away = True
                log.error("Redis does not answer, so idempotency keys and limits of keys hold per node: %s", error)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
