"""Flag that tells the job worker that uploads wait for a permit: uploads are interactive and take precedence.

All web workers touch the same file while an upload waits, and jobs check its age, so a crash leaves nothing to clean
up. The file's time is on the monotonic clock, which cannot be set.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

TOLD_S = 0.25  # minimum interval between two touches
RECENT_S = 1.0


class UploadWaitingFlag:
    """Flag shared by all web workers through `path`; None for no flag. Use from one event loop."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._told_s = path, float("-inf")

    def touch(self) -> None:
        """Record that an upload waits."""
        now = time.monotonic()
        if self._path is None or now < self._told_s + TOLD_S:
            return
        self._told_s = now
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
