"""Retry policy: a limited number of attempts, and limited waiting in all."""

import random

from ..errors import ConnectFailed, ServiceUnavailable, ServiceUnreachable

RETRY_STATUSES = frozenset({429, 503})
MAX_TRIES = 8
# A restarting service is back within a second; report a missing one soon.
MAX_CONNECT_TRIES = 3
FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 4.0


class RetryPolicy:
    """Limits of one call: a number of attempts, and `left_s` seconds of waiting in all."""

    def __init__(self, left_s: float) -> None:
        self._left_s = left_s
        self._tries = 0

    def next_pause_s(self, error: ServiceUnreachable | ServiceUnavailable, *, safe: bool = False) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up.

        `safe` means that repeating the request is harmless, so that it is repeated after a lost answer too.
        """
        self._tries += 1
        service_pause_s = 0.0
        max_tries = MAX_CONNECT_TRIES
        if isinstance(error, ServiceUnavailable):
            if error.status not in RETRY_STATUSES and not safe:
                return None
            service_pause_s, max_tries = error.retry_after_s or 0.0, MAX_TRIES
        elif not isinstance(error, ConnectFailed) and not safe:
            return None
        backoff_s = min(FIRST_PAUSE_S * 2 ** (self._tries - 1), MAX_PAUSE_S)
        # Add random jitter: clients that were refused together must not return together.
        pause_s: float = max(service_pause_s, backoff_s) * random.uniform(1.0, 1.25)
        if self._tries >= max_tries or pause_s > self._left_s:
            return None
        self._left_s -= pause_s
        return pause_s
