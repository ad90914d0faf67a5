"""Lets jobs know that uploads wait for a place at work: a person waits for those, and they go first.

Every web worker touches the same file while somebody waits, and jobs look at its age: nothing is left to be tidied up,
whoever dies. Its time is the machine's since it was started, which nobody sets.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

TOLD_S = 0.25  # not more often than that
RECENT_S = 1.0


class UploadWaitingFlag:
    """Of all web workers, told in `path`; None to tell nobody. Used from one event loop."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._told_s = path, float("-inf")

    def note(self) -> None:
        """An upload waits."""
        now = time.monotonic()
        if self._path is None or now < self._told_s + TOLD_S:
            return
        self._told_s = now
        with suppress(OSError):  # a full disk: then a job is in the way of uploads for once
            self._path.touch()
            os.utime(self._path, (now, now))

    def lately(self) -> bool:
        """Whether an upload of any worker waited within the last RECENT_S."""
        if self._path is None:
            return False
        try:
            return 0 <= time.monotonic() - os.stat(self._path).st_mtime < RECENT_S
        except OSError:
            return False
