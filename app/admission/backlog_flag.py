"""Tells nginx how long those who wait will take, so that its own refusals say when to come back.

nginx can ask whether a file exists and nothing more: so every worker keeps one whose name is that of its backlog in
seconds, from a short list, fresh; the largest counts. What nobody kept fresh is removed by whoever comes first.
"""

import time
from contextlib import suppress
from pathlib import Path

STEPS_S = (4, 8, 15, 30)  # nginx/snippets/backlog.conf has the same; below the first it says 2
STALE_S = 5.0


class BacklogFlag:
    """One worker's; `tell` is to be called more often than every STALE_S seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tell(self, seconds: float) -> None:
        """Keeps the file of a backlog of `seconds`, and removes stale ones."""
        step = max((step for step in STEPS_S if seconds > step / 2), default=0)
        with suppress(OSError):  # a full disk: nginx says 2
            if step:
                self._folder.mkdir(exist_ok=True)
                (self._folder / str(step)).touch()
            for path in self._folder.glob("*"):
                if path.name != str(step) and abs(time.time() - path.stat().st_mtime) > STALE_S:  # a clock may be set
                    path.unlink(missing_ok=True)
