"""Retry schedule of deliveries: that of the Standard Webhooks specification, with jitter."""

import random

_MINUTE_S, _HOUR_S = 60.0, 3600.0
# Delay after each failed attempt, seconds; after the last one the event is dead, three days after the first attempt
DELAYS_S = (
    5.0,
    5 * _MINUTE_S,
    30 * _MINUTE_S,
    *(hours * _HOUR_S for hours in (2, 5, 10, 14, 20, 24)),
)
MAX_ATTEMPTS = len(DELAYS_S) + 1
JITTER = 0.2  # share of a delay that is added at most, so that receivers are not called by all events at once
MAX_DELAY_S = DELAYS_S[-1] * (1 + JITTER)
SPAN_S = sum(DELAYS_S) * (1 + JITTER)  # longest time from the first attempt to the last


def next_delay_s(attempts: int, retry_after_s: float | None = None) -> float | None:
    """Return the delay before the next attempt, None when there is none.

    Args:
        attempts: Failed attempts so far, at least 1.
        retry_after_s: What the receiver asked for; it can only make the delay longer, up to `MAX_DELAY_S`.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    delay_s = DELAYS_S[attempts - 1] * (1 + random.uniform(0, JITTER))
    return min(MAX_DELAY_S, max(delay_s, retry_after_s or 0.0))
