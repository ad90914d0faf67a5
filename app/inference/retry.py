"""Retries while Triton is unavailable.

Requests and timelines wait for a restart of Triton, which takes some seconds. Requests fail fast once Triton has been
down longer than `patience_s`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.errors import NotReady
from app.inference.triton_errors import TritonUnavailable

RETRY_DELAY_S = 0.1  # delay between two attempts of one request
# Each request retries at least this long, since gRPC reports its old state until it reconnects (after 1 s at most).
MIN_RETRY_S = 2.0

T = TypeVar("T")


async def retry_until_ready(
    call: Callable[[], Awaitable[T]], should_stop: Callable[[NotReady], bool], delay_s: float
) -> T:
    """Return the result of `call`, repeated every `delay_s` seconds after a NotReady, unless `should_stop(error)`."""
    while True:
        try:
            return await call()
        except NotReady as error:
            if should_stop(error):
                raise
        await asyncio.sleep(delay_s)


class TritonOutage:
    """Outage tracker of one worker's Triton; requests retry during the first `patience_s` seconds of an outage."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: float | None = None

    def record_failure(self) -> float:
        """Record that Triton does not answer; return the start of the outage (time.monotonic())."""
        if self._since is None:
            self._since = time.monotonic()
        return self._since

    def record_success(self) -> None:
        """Record that Triton answers."""
        self._since = None

    async def retry_while_unavailable(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call `call` until it stops raising TritonUnavailable, or an outage exceeds `patience_s`; return its result.

        The end of the outage is for the caller to record: what `call` returns may come from a cache.
        """
        deadline = time.monotonic() + MIN_RETRY_S

        def should_stop(error: NotReady) -> bool:
            if not isinstance(error, TritonUnavailable):
                return True
            return time.monotonic() >= max(deadline, self.record_failure() + self._patience_s)

        return await retry_until_ready(call, should_stop, RETRY_DELAY_S)
