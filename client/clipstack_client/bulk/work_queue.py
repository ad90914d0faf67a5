"""Queue of files with a bound, to which workers may return what they could not finish."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class WorkQueue(Generic[T]):
    """At most `limit` items are unfinished; an item that is returned goes to another worker."""

    def __init__(self, limit: int) -> None:
        self._room = asyncio.Semaphore(limit)
        self._items: asyncio.Queue[T | None] = asyncio.Queue()
        self._unfinished = 0
        self._complete = False
        self._ended = asyncio.Event()

    async def put(self, item: T) -> None:
        """Add an item once there is room."""
        await self._room.acquire()
        self._unfinished += 1
        self._items.put_nowait(item)

    def give_back(self, item: T) -> None:
        """Return an item that another worker shall have."""
        self._items.put_nowait(item)

    def finish(self) -> None:
        """Count one item as finished."""
        self._unfinished -= 1
        self._room.release()
        self._end_if_done()

    def complete(self) -> None:
        """Declare that there are no more items to put."""
        self._complete = True
        self._end_if_done()

    async def get(self) -> T | None:
        """Return the next item, or None once all items are finished."""
        item = await self._items.get()
        if item is None:
            self._items.put_nowait(None)  # for the next worker
        return item

    @property
    def ended(self) -> bool:
        """Return whether all items are finished."""
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        """Wait until all items are finished."""
        await self._ended.wait()

    def _end_if_done(self) -> None:
        if self._complete and self._unfinished == 0:
            self._ended.set()
            self._items.put_nowait(None)
