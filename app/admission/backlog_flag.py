"""Publish each worker's backlog to nginx, which puts it into the `Retry-After` header of its own rejections.

nginx can only test whether a file exists. Each worker therefore touches a file named after its backlog, rounded to
one of STEPS_S; nginx uses the largest. Any worker removes stale files.
"""

import time
from contextlib import suppress
from pathlib import Path

STEPS_S = (4, 8, 15, 30)  # as in nginx/snippets/backlog.conf; without a file nginx says 2
STALE_S = 5.0


class BacklogFlag:
    """Backlog file of one worker. Call `publish` more often than every STALE_S seconds."""

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
                if path.name != str(step) and abs(time.time() - path.stat().st_mtime) > STALE_S:  # the clock may jump
                    path.unlink(missing_ok=True)
