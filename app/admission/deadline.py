"""Deadlines of requests: set by a header, checked before every stage and enforced while a stage runs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.errors import DeadlineExceeded, InvalidParameter

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

HEADER = "X-Deadline-Ms"
HANDED_OVER = "X-Handed-Over"  # time in seconds at which nginx had received the whole upload
MAX_MS = 3_600_000
MAX_WAITED_S = 60.0  # no backlog is longer: a larger value comes from another clock


class Deadline:
    """A point in time, `seconds` from now, on the clock of `time.monotonic`."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Remaining seconds; negative when the deadline has passed."""
        return self._ends - time.monotonic()

    def extend(self, seconds: float) -> None:
        """Move the deadline, by time that does not count."""
        self._ends += seconds

    def check(self, doing: str) -> None:
        """Raise DeadlineExceeded when the deadline has passed. Call before starting slow work."""
        if self.left_s <= 0:
            raise _over(doing)

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Cancel the block at the deadline and raise DeadlineExceeded."""
        limit = asyncio.timeout(max(0.0, self.left_s))
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise _over("it was worked on") from None
            raise


def deadline_from_headers(headers: "Headers", default_s: float) -> Deadline:
    """Return the deadline of a request, counted from when nginx handed it over; raises InvalidParameter.

    The time of sending the file does not count. The time of waiting for a worker does.
    """
    text = headers.get(HEADER, "")
    if not text:
        limit_s = float(default_s)
    elif text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_MS:
        limit_s = int(text) / 1e3
    else:
        raise InvalidParameter(f"{HEADER} must be a whole number of milliseconds from 1 to {MAX_MS}")
    return Deadline(limit_s - waited_s(headers))


def waited_s(headers: "Headers") -> float:
    """Return the seconds since nginx handed the request over; 0 without a valid header."""
    try:
        waited = time.time() - float(headers.get(HANDED_OVER, ""))
    except ValueError:
        return 0.0
    return waited if 0 < waited < MAX_WAITED_S else 0.0


def _over(doing: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"the time for this request was over while {doing}")
