"""When an answer is of no more use: told by the client, looked at before every stage, enforced while one runs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from app.errors import DeadlineExceeded, InvalidParameter

HEADER = "X-Deadline-Ms"
HANDED_OVER = "X-Handed-Over"  # nginx's clock, seconds, when it had the whole upload
MOST_MS = 3_600_000
MOST_WAITED_S = 60.0  # a clock that is further off than the backlog can be long is not nginx's on this machine


class Headers(Protocol):
    """What is needed of a request's headers."""

    def get(self, name: str, default: str, /) -> str: ...


class Deadline:
    """A moment on the clock of `time.monotonic`, `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds, below zero when it is over."""
        return self._ends - time.monotonic()

    def check(self, doing: str) -> None:
        """Raises DeadlineExceeded when it is over; called before what takes time is begun."""
        if self.left_s <= 0:
            raise _over(doing)

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Cancels what runs in the block when time is up, and raises DeadlineExceeded."""
        limit = asyncio.timeout(max(0.0, self.left_s))
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise _over("it was worked on") from None
            raise


def told(headers: Headers, default_s: float) -> Deadline:
    """The deadline of a request, counted from when nginx handed it over; raises InvalidParameter.

    The time that a client needs to send its file does not count; what passes in the backlog before a worker does.
    """
    text = headers.get(HEADER, "")
    if not text:
        whole_s = float(default_s)
    elif text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST_MS:
        whole_s = int(text) / 1e3
    else:
        raise InvalidParameter(f"{HEADER} must be a whole number of milliseconds from 1 to {MOST_MS}")
    return Deadline(whole_s - waited_s(headers))


def waited_s(headers: Headers) -> float:
    """Seconds since nginx handed the request over, 0 when it did not say."""
    try:
        waited = time.time() - float(headers.get(HANDED_OVER, ""))
    except ValueError:
        return 0.0
    return waited if 0 < waited < MOST_WAITED_S else 0.0


def _over(doing: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"the time for this request was over while {doing}")
