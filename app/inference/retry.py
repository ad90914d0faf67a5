"""What requests and timelines do while Triton is away: they wait for a restart to end, and no longer.

A restart takes some seconds, and nobody needs to know of it. Requests are soon told of a Triton that stays away.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.errors import NotReady
from app.inference.client import TritonUnavailable

AGAIN_S = 0.1  # between two attempts of one request
# Of each request: until gRPC tries to connect again (1 s at most, app/inference/client.py) it says what was true before.
BELIEVED_AFTER_S = 2.0

T = TypeVar("T")


async def outlasted(ask: Callable[[], Awaitable[T]], is_over: Callable[[NotReady], bool], again_s: float) -> T:
    """What `ask` returns, asked again after `again_s` seconds while it raises NotReady; raises that when `is_over`."""
    while True:
        try:
            return await ask()
        except NotReady as error:
            if is_over(error):
                raise
        await asyncio.sleep(again_s)


class TritonOutage:
    """How long one worker's Triton has been away; requests outlast the first `patience_s` seconds of it."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: float | None = None

    def noticed(self) -> float:
        """Triton did not answer just now; returns since when (time.monotonic())."""
        if self._since is None:
            self._since = time.monotonic()
        return self._since

    def over(self) -> None:
        """Triton answered just now."""
        self._since = None

    async def outlast(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` returns, asked again while it raises TritonAway; raises that when Triton stays away."""
        believed = time.monotonic() + BELIEVED_AFTER_S

        def is_over(error: NotReady) -> bool:
            if not isinstance(error, TritonUnavailable):
                return True
            return time.monotonic() >= max(believed, self.noticed() + self._patience_s)

        answer = await outlasted(ask, is_over, AGAIN_S)
        self.over()
        return answer
