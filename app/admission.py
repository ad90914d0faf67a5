"""Who may start: a bounded number of requests at work, a bounded queue before them, and 503 at once beyond."""

import asyncio

from app.errors import Overloaded


class Admission:
    """At most `inflight` inside at a time, at most `queue` waiting, each no longer than `timeout_s` seconds."""

    def __init__(self, inflight: int, queue: int, timeout_s: float) -> None:
        self._places = asyncio.Semaphore(inflight)
        self._queue = queue
        self._timeout_s = timeout_s
        self.waiting = 0

    async def enter(self) -> None:
        """Waits for a place, to be given back with `leave`; raises Overloaded when the queue is full or too slow."""
        if self._places.locked() and self.waiting >= self._queue:
            raise Overloaded("the service has more work than it can do now; please try again in a moment")
        self.waiting += 1
        try:
            await asyncio.wait_for(self._places.acquire(), self._timeout_s)
        except TimeoutError:
            raise Overloaded("the request waited too long for its turn; please try again in a moment") from None
        finally:
            self.waiting -= 1

    def leave(self) -> None:
        """Gives the place back."""
        self._places.release()
