"""Blocking work for an event loop, and an event loop for blocking callers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def run_in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call `function` in a daemon thread; a cancelled caller does not wait for it.

    The loop's own pool is not used: it waits for its threads at the end, and a read from a terminal may never return.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def resolve(setter: Callable[[Any], None], value: Any) -> None:
        if not result.done():
            setter(value)

    def work() -> None:
        try:
            setter, value = result.set_result, function(*args)
        except BaseException as error:
            setter, value = result.set_exception, error  # type: ignore[assignment]
        with suppress(RuntimeError):  # the loop has ended, and the caller with it
            loop.call_soon_threadsafe(resolve, setter, value)

    threading.Thread(target=work, daemon=True).start()
    return await result


class LoopThread:
    """Event loop in its own thread for blocking callers; close it after use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # serialises `run` and `close`
        self._closing = False
        self._pending: set[Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="clipstack-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`; if the caller is interrupted, `work` is cancelled."""
        with self._lock:
            if self._closing:
                work.close()
                raise RuntimeError("the client is closed")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._pending.add(future)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
        finally:
            self._pending.discard(future)

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield the items; if the caller stops early, the asynchronous iterator is closed."""

        async def next_item() -> tuple[T, ...]:
            async for item in items:
                return (item,)
            return ()

        try:
            while item := self.run(next_item()):
                yield item[0]
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                with suppress(RuntimeError):  # the client is closed, and the iterator with it
                    self.run(close())

    def close(self) -> None:
        """Cancel what still runs and end the thread; may be called twice."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        for future in tuple(self._pending):  # work that the loop did not start
            future.cancel()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await asyncio.sleep(0)  # the loop's next round closes the dropped connections
