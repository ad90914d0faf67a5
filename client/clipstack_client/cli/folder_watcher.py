"""Watcher of a folder that yields each new file once, when it has stopped growing."""

import asyncio
import time
from collections.abc import AsyncIterator

from ..loop_thread import run_in_thread
from ..sending.media_files import walk_folder
from .inputs import File, describe
from .resume import Key


class FolderWatcher:
    """Watcher of the videos and pictures below `path`; `done` holds the keys of finished files.

    The folder is scanned every `every_s` seconds. A file is complete once its size and time have not changed for
    `settle_s` seconds. A file that changes later counts as new.
    """

    def __init__(self, path: str, done: set[Key], *, every_s: float, settle_s: float) -> None:
        self._path, self._done = path, done
        self._every_s, self._settle_s = every_s, settle_s
        self._growing: dict[str, tuple[File, float]] = {}

    async def files(self, *, once: bool) -> AsyncIterator[File]:
        """Yield each file once it is complete; forever, or with `once` until all present files are complete."""
        while True:
            for file in await run_in_thread(self._take_complete):
                yield file
            if once and not self._growing:
                return
            await asyncio.sleep(self._every_s)

    def _take_complete(self) -> list[File]:
        now = time.monotonic()
        complete, growing = [], {}
        for file in map(describe, walk_folder(self._path)):
            if not file.size or file.key in self._done:
                continue
            previous, since = self._growing.get(file.path, (None, now))
            since = since if file == previous else now
            if file == previous and now - since >= self._settle_s:
                self._done.add(file.key)
                complete.append(file)
            else:
                growing[file.path] = (file, since)
        self._growing = growing
        return complete
