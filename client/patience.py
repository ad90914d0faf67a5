"""When to try again, and when to stop: a bounded number of tries, and bounded waiting in all."""

from __future__ import annotations

import random

from client.errors import ConnectFailed, ServiceUnavailable, ServiceUnreachable

RETRIED = frozenset({429, 503})
MOST_TRIES = 8
# A service that is being restarted is back within a second; one that is not there should be told soon.
MOST_CONNECT_TRIES = 3
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0


class RetryPolicy:
    """How long one call goes on: a number of tries, and `left_s` seconds of waiting in all."""

    def __init__(self, left_s: float) -> None:
        self._left_s = left_s
        self._tries = 0

    def next_pause_s(self, error: ServiceUnreachable | ServiceUnavailable, *, safe: bool = False) -> float | None:
        """Seconds to wait before the next try, or None when it is time to give up.

        `safe` says that asking twice does no harm, so that an answer that was lost is asked for again.
        """
        self._tries += 1
        asked_s = 0.0
        most = MOST_CONNECT_TRIES
        if isinstance(error, ServiceUnavailable):
            if error.status not in RETRIED and not safe:
                return None
            asked_s, most = error.retry_after_s or 0.0, MOST_TRIES
        elif not isinstance(error, ConnectFailed) and not safe:
            return None
        own_s = min(FIRST_PAUSE_S * 2 ** (self._tries - 1), LONGEST_PAUSE_S)
        # A little longer than asked, and by chance: clients refused together must not come back together.
        pause_s: float = max(asked_s, own_s) * random.uniform(1.0, 1.25)
        if self._tries >= most or pause_s > self._left_s:
            return None
        self._left_s -= pause_s
        return pause_s
