"""Flags that make nginx reject uploads before it reads them, several times cheaper than a rejection in a worker.

nginx can only test whether a file exists. The worker creates a file per rejected key, or one for EVERYBODY, and
removes it once there is room for several requests. A flag starts with a rejection by a worker, so clients within their
limits are not affected. Flags that a killed worker left are removed after STALE_S.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

EVERYBODY = "everybody"  # used without API keys; as in nginx/conf.d/reject.conf
STALE_S = 4.0
SLACK = 8  # 1/SLACK of the capacity must be free before uploads are accepted again, so that a flag does not flap


def free_places(places: int) -> int:
    """Return how many of `places` must be free before a flag is removed; at least one."""
    return max(1, places // SLACK)


class RejectFlags:
    """Rejection flags as files in `folder`; None for no flags. Safe for many threads and processes."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def raise_flag(self, name: str, has_room: Callable[[], bool]) -> None:
        """Make nginx reject uploads of `name`, a key's id or EVERYBODY, unless `has_room()` is already true again."""
        if self._folder is None:
            return
        with suppress(OSError):  # full disk or no descriptor: the worker keeps rejecting
            (self._folder / name).touch(exist_ok=True)
        self.clear_flag(name, has_room)  # the last running request may have just finished

    def clear_flag(self, name: str, has_room: Callable[[], bool]) -> None:
        """Remove the flag of `name` if `has_room()`. Call whenever a request finishes."""
        if self._folder is not None and (path := self._folder / name).exists() and has_room():
            path.unlink(missing_ok=True)

    def remove_stale(self) -> None:
        """Remove stale flags: the worker that set one may have been killed."""
        with suppress(OSError):
            for path in self._folder.iterdir() if self._folder else ():
                with suppress(FileNotFoundError):
                    if abs(time.time() - path.stat().st_mtime) > STALE_S:  # the clock may jump
                        path.unlink()
