"""Rate and concurrency limits of each key over all nodes, in the shared state.

They are those of app/auth/limits.py. A slot of a node that died is free again after `lease_s`.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from app.auth.limits import CONCURRENT_MESSAGE, RateState, too_fast
from app.errors import TooManyRequests
from app.nodes.shared_state import PREFIX, SharedState, SharedStateAway

# The generic cell rate algorithm on Redis' own clock. Arguments: files per second, burst, whether to count.
# Returns whether the file is allowed, and the seconds until the next evenly spaced one is due.
_RATE = """
local time = redis.call('time')
local now, rate, burst = time[1] + time[2] / 1000000, tonumber(ARGV[1]), tonumber(ARGV[2])
local due = tonumber(redis.call('get', KEYS[1]) or now)
if due < now or due > now + burst / rate + 0.000002 then due = now end
if due - now - (burst - 1) / rate > 0.000002 then return {0, string.format('%.6f', due - now)} end
if ARGV[3] == '1' then
    local next_due = due + 1 / rate
    redis.call('set', KEYS[1], string.format('%.6f', next_due), 'px', math.ceil((next_due - now) * 1000) + 1000)
end
return {1, string.format('%.6f', due - now)}
"""
# Slots with the times at which they end. Arguments: maximum, seconds of a lease, name of the slot; without a name it
# takes none. Returns whether there is a slot.
_SLOT = """
local time = redis.call('time')
local now = time[1] + time[2] / 1000000
redis.call('zremrangebyscore', KEYS[1], '-inf', now)
if redis.call('zcard', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
if ARGV[3] ~= '' then
    redis.call('zadd', KEYS[1], now + ARGV[2], ARGV[3])
    redis.call('expire', KEYS[1], math.ceil(tonumber(ARGV[2])))
end
return 1
"""


class SharedLimits:
    """Limits of keys over all nodes; each method but `slot` raises SharedStateAway."""

    def __init__(self, state: SharedState, lease_s: int) -> None:
        self._state, self._lease_s = state, lease_s

    @contextmanager
    def slot(self, key: str, maximum: int, retry_after_s: int) -> Iterator[None]:
        """Hold one of the `maximum` slots of `key` in the block, or none while the shared state is away.

        Raises TooManyRequests if all slots are taken.
        """
        name = secrets.token_hex(8)
        with suppress(SharedStateAway):
            self.require_slot(key, maximum, retry_after_s, name)
        try:
            yield
        finally:
            with suppress(SharedStateAway):
                self._state.call(lambda redis: redis.zrem(_slots(key), name))

    def require_slot(self, key: str, maximum: int, retry_after_s: int, name: str = "") -> None:
        """Raise TooManyRequests if all slots are taken; take one if it has a `name`."""
        if not self._state.call(lambda redis: redis.eval(_SLOT, 1, _slots(key), maximum, self._lease_s, name)):
            raise TooManyRequests(CONCURRENT_MESSAGE.format(maximum), retry_after_s)

    def count_request(self, key: str, rate: float, burst: int, *, count: bool = True) -> RateState:
        """Count one request, or with `count=False` only check it; raises RateLimited."""
        script = (_RATE, 1, f"{PREFIX}rate:{key}", rate, burst, int(count))
        allowed, ahead = self._state.call(lambda redis: redis.eval(*script))
        if not allowed:
            raise too_fast(float(ahead), rate, burst)
        return RateState.after(float(ahead) + 1 / rate, rate, burst)


def _slots(key: str) -> str:
    return f"{PREFIX}slots:{key}"
