"""Retries while Triton is unavailable.

Requests and timelines wait for a restart of Triton, which takes some seconds. Requests fail fast once Triton has been
down longer than `patience_s`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.errors import NotReady
from app.inference.client import TritonUnavailable

AGAIN_S = 0.1  # delay between two attempts of one request
# Each request retries at least this long, since gRPC reports its old state until it reconnects (after 1 s at most).
BELIEVED_AFTER_S = 2.0

T = TypeVar("T")


async def outlasted(ask: Callable[[], Awaitable[T]], is_over: Callable[[NotReady], bool], again_s: float) -> T:
    """Call `ask` until it stops raising NotReady, and return its result.

    Args:
        ask: The call.
        is_over: Returns whether to give up on an error, which is then raised.
        again_s: Delay between two attempts, seconds.
    """
    while True:
        try:
            return await ask()
        except NotReady as error:
            if is_over(error):
                raise
        await asyncio.sleep(again_s)


class TritonOutage:
    """Outage tracker of one worker's Triton; requests retry during the first `patience_s` seconds of an outage."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: float | None = None

    def noticed(self) -> float:
        """Record that Triton does not answer; return the start of the outage (time.monotonic())."""
        if self._since is None:
            self._since = time.monotonic()
        return self._since

    def over(self) -> None:
        """Record that Triton answers."""
        self._since = None

    async def outlast(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Call `ask` until it stops raising TritonUnavailable, and return its result.

        Raises TritonUnavailable when the outage lasts longer than `patience_s`.
        """
        believed = time.monotonic() + BELIEVED_AFTER_S

        def is_over(error: NotReady) -> bool:
            if not isinstance(error, TritonUnavailable):
                return True
            return time.monotonic() >= max(believed, self.noticed() + self._patience_s)

        answer = await outlasted(ask, is_over, AGAIN_S)
        self.over()
        return answer
