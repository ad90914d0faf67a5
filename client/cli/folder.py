"""A folder into which files keep coming: each is handed on once, when it has stopped growing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from client.cli.files import File, in_folder, look
from client.cli.resuming import Key
from client.threads import in_thread


class FolderWatcher:
    """The videos and pictures below `path`; `seen` holds the keys of files that are done already.

    The folder is looked through every `every_s` seconds. A file counts as whole when it was the same, by length and
    time, for `settle_s` seconds; one that is written anew later counts as a new one.
    """

    def __init__(self, path: str, seen: set[Key], *, every_s: float, settle_s: float) -> None:
        self._path, self._seen = path, seen
        self._every_s, self._settle_s = every_s, settle_s
        self._growing: dict[str, tuple[File, float]] = {}

    async def files(self, *, once: bool) -> AsyncIterator[File]:
        """Each file as it becomes whole; for ever, or `once` until all that were there are."""
        while True:
            for file in await in_thread(self._whole):
                yield file
            if once and not self._growing:
                return
            await asyncio.sleep(self._every_s)

    def _whole(self) -> list[File]:
        now = time.monotonic()
        whole, growing = [], {}
        for file in map(look, in_folder(self._path)):
            if not file.size or file.key in self._seen:
                continue
            before, since = self._growing.get(file.path, (None, now))
            since = since if file == before else now
            if file == before and now - since >= self._settle_s:
                self._seen.add(file.key)
                whole.append(file)
            else:
                growing[file.path] = (file, since)
        self._growing = growing
        return whole
