"""Flags of the web workers as files, which nginx and the job worker read; a flag that nobody renews is ignored.

RejectFlags        nginx rejects uploads before it reads them, several times cheaper than a rejection in a worker
BacklogFlag        nginx puts the backlog into the `Retry-After` header of its own rejections
UploadWaitingFlag  the job worker pauses: uploads are interactive and take precedence

nginx can only test whether a file exists.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

EVERYBODY = "everybody"  # used without API keys; as in nginx/conf.d/reject.conf
STALE_S = 4.0  # flags that a killed worker left are removed after it
BACKLOG_STALE_S = 5.0
SLACK = 8  # 1/SLACK of the capacity must be free before uploads are accepted again, so that a flag does not flap
STEPS_S = (4, 8, 15, 30)  # of the backlog; as in nginx/snippets/backlog.conf; without a file nginx says 2
TOUCH_INTERVAL_S = 0.25  # minimum interval between two touches
RECENT_S = 1.0


def free_places(places: int) -> int:
    """Return how many of `places` must be free before a flag is removed; at least one."""
    return max(1, places // SLACK)


def _is_older(path: Path, seconds: float) -> bool:
    return abs(time.time() - path.stat().st_mtime) > seconds  # abs: the clock may jump


class RejectFlags:
    """Rejection flags as files in `folder`; None for no flags. Safe for many threads and processes.

    A flag starts with a rejection by a worker, so clients within their limits are not affected. The worker removes it
    once there is room for several requests.
    """

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
                    if _is_older(path, STALE_S):
                        path.unlink()


class BacklogFlag:
    """Backlog file of one worker, named after its backlog rounded to one of STEPS_S; nginx uses the largest.

    Call `publish` more often than every BACKLOG_STALE_S seconds.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def publish(self, seconds: float) -> None:
        """Touch the file for a backlog of `seconds` and remove stale files."""
        step = max((step for step in STEPS_S if seconds > step / 2), default=0)
        with suppress(OSError):  # full disk: nginx says 2
            if step:
                self._folder.mkdir(exist_ok=True)
                (self._folder / str(step)).touch()
            for path in self._folder.glob("*"):
                if path.name != str(step) and _is_older(path, BACKLOG_STALE_S):
                    path.unlink(missing_ok=True)


class UploadWaitingFlag:
    """Flag shared by all web workers through `path`; None for no flag. Use from one event loop.

    Jobs check its age, on the monotonic clock, which cannot be set: a crash leaves nothing to clean up.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._touched_s = path, float("-inf")

    def touch(self) -> None:
        """Record that an upload waits."""
        now = time.monotonic()
        if self._path is None or now < self._touched_s + TOUCH_INTERVAL_S:
            return
        self._touched_s = now
        with suppress(OSError):  # full disk: jobs do not pause
            self._path.touch()
            os.utime(self._path, (now, now))

    def is_recent(self) -> bool:
        """Return whether an upload waited in any worker within the last RECENT_S seconds."""
        if self._path is None:
            return False
        try:
            return 0 <= time.monotonic() - self._path.stat().st_mtime < RECENT_S
        except OSError:
            return False
