"""The event loop of one worker, in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from app.errors import NotReady

T = TypeVar("T")

JOIN_TIMEOUT_S = 5.0


class LoopThread:
    """An event loop in a thread; other threads run coroutines on it and wait for their results."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.accepts_work = False

    def start(self) -> None:
        """Start the thread. Call after fork."""
        self._loop = loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run_loop, args=(loop,), name="pipeline", daemon=True)
        self._thread.start()
        self.accepts_work = True

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result. Raises NotReady when the loop accepts no work."""
        if not self.accepts_work:
            work.close()
            raise NotReady("this worker is not started")
        return self.finish(work)

    def finish(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine although the loop is closed for others; raise TimeoutError after `timeout_s` seconds."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def close(self) -> bool:
        """Accept no more work; return whether the loop accepted some until now."""
        accepted, self.accepts_work = self.accepts_work, False
        return accepted

    def stop(self) -> None:
        """Stop the loop and its thread."""
        self.accepts_work = False
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(JOIN_TIMEOUT_S)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()
