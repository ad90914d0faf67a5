"""Tells nginx whom to refuse before it reads a file: a refusal here costs several times as much as one of nginx's.

nginx can ask whether a file exists and nothing more: so there is one for each key that was refused here, or one for
EVERYBODY, until there is room again, and for more than one. Nobody who keeps within what is
allowed is refused by it: it begins with a refusal of ours. What a killed worker left goes after STALE_S.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

EVERYBODY = "everybody"  # where no keys are asked for; nginx/conf.d/shut.conf has the same word
STALE_S = 4.0
SLACK = 8  # a part of so many of the places must be free before others are let in: else it would be one at a time


def enough(places: int) -> int:
    """How many of `places` are to be free before the door is opened again; one where they are few."""
    return max(1, places // SLACK)


class RejectFlags:
    """Who is refused by nginx, in files in `folder`, None to tell it nothing; for many threads and processes."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def shut(self, name: str, has_room: Callable[[], bool]) -> None:
        """From now on nginx refuses files of `name`, a key's id or EVERYBODY."""
        if self._folder is None:
            return
        with suppress(OSError):  # a full disk, no descriptor: then it is refused here
            (self._folder / name).touch(exist_ok=True)
        self.opened(name, has_room)  # all that was in may have gone just before

    def opened(self, name: str, has_room: Callable[[], bool]) -> None:
        """To be called whenever a place came free: lets files of `name` in again if there is room enough."""
        if self._folder is not None and os.path.exists(path := self._folder / name) and has_room():
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Removes what is old: whoever was to remove it may have been killed."""
        with suppress(OSError):
            for path in self._folder.iterdir() if self._folder else ():
                with suppress(FileNotFoundError):
                    if abs(time.time() - path.stat().st_mtime) > STALE_S:  # a clock may be set
                        path.unlink()
