"""Work that concurrent callers share."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any


class SingleFlight:
    """Cached work: runs at most every `age_s` seconds; concurrent callers share one run and its error.

    Without sharing, callers would wait one after the other for a Triton that hangs.
    """

    def __init__(self, age_s: float, refresh: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._age_s = age_s
        self._refresh = refresh
        self._done = float("-inf")
        self._run: asyncio.Future[None] | None = None

    @property
    def is_recent(self) -> bool:
        """Whether the work was done at most `age_s` seconds ago."""
        return time.monotonic() - self._done < self._age_s

    async def get(self, force: bool = False) -> None:
        """Wait until the work was done at most `age_s` seconds ago; with `force`, run it now.

        With `force` the previous result expires for all callers, even when the new run fails.
        """
        if force:
            self._done = float("-inf")
        if force and self._run and not self._run.done():
            await asyncio.wait([self._run])
        if self._run is None or self._run.done():
            if not force and self.is_recent:
                return
            self._run = asyncio.ensure_future(self._do())
        await asyncio.shield(self._run)

    async def _do(self) -> None:
        await self._refresh()
        self._done = time.monotonic()
