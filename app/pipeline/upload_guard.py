"""Keeps uploads from filling the disk: a floor of free space, and a least rate for uploads that are being received.

nginx receives uploads and has neither of the two. This runs in each web worker, every two seconds.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from app.admission.reject_flags import RejectFlags
from app.uploads.parser import LEAST_BYTES_S, given_up

# Who is refused: all uploads, or those that become jobs (nginx/conf.d/shut.conf has the same words)
STORAGE_FULL, JOBS_FULL = "storage_full", "jobs_full"
PART_OF_DISK = 0.05  # the floor is at most so much of a disk
LEAST_WINDOW_S = 120.0
# Beyond the longest answer: a file that web works at does not grow either, and must not pass for a slow one
WINDOW_SLACK_S = 30.0

log = logging.getLogger(__name__)


class UploadGuard:
    """Guard the folder of uploads.

    Args:
        shut: Where nginx is told whom to refuse.
        uploads: Folder of uploads.
        data: Folder of jobs.
        least_free_bytes: The floor, or `part_of_disk` of a disk where that is less.
        longest_answer_s: Longest time from a whole upload to its answer.
    """

    def __init__(
        self, shut: RejectFlags, uploads: Path, data: Path, least_free_bytes: int, longest_answer_s: float,
        part_of_disk: float = PART_OF_DISK,
    ) -> None:  # fmt: skip
        self._shut, self._uploads = shut, uploads
        self._folders = {STORAGE_FULL: uploads, JOBS_FULL: data}
        self._least_free_bytes, self._part_of_disk = least_free_bytes, part_of_disk
        self.window_s = max(LEAST_WINDOW_S, longest_answer_s + WINDOW_SLACK_S)
        self._progress: dict[str, tuple[int, float]] = {}  # of each upload: its size, and since when it has that

    def look(self) -> None:
        """Refuse new uploads while a disk is nearly full, and give slow ones up."""
        for name, folder in self._folders.items():
            if self.is_low(folder):
                self._shut.shut(name, lambda: False)
            else:
                self._shut.opened(name, lambda: True)
        if ended := self.end_slow(time.monotonic()):
            log.warning("%d uploads were given up: slower than %d bytes a second", ended, LEAST_BYTES_S)

    def is_low(self, folder: Path) -> bool:
        """Whether the disk of `folder` has less free space than the floor."""
        try:
            total, _, free = shutil.disk_usage(folder)
        except OSError:
            return False
        return free < min(self._least_free_bytes, total * self._part_of_disk)

    def end_slow(self, now: float) -> int:
        """Take the files of slow uploads away and give their space back; return how many that was.

        nginx goes on receiving such an upload, into a file without a name that stays empty but for its last bytes.
        When it has all of it, web finds no file and answers 408. app/pipeline/leftovers.py removes the empty file then.
        """
        progress: dict[str, tuple[int, float]] = {}
        ended = 0
        for path, size in _files(self._uploads):
            if path == given_up(path):
                _empty(path, size)
            elif path.name.isdecimal():  # as nginx names them
                before, since = self._progress.get(path.name, (size, now))
                if size < before or size >= before + LEAST_BYTES_S * self.window_s:
                    before, since = size, now
                progress[path.name] = (before, since)
                if now - since > self.window_s:
                    with suppress(OSError):  # it ended, or another worker was faster
                        path.rename(given_up(path))
                        ended += 1
                        _empty(given_up(path), size)
        self._progress = progress
        return ended


def _files(folder: Path) -> list[tuple[Path, int]]:
    """Return the files in `folder` and their sizes, without those that a job has taken by a link."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
                    found.append((Path(entry.path), facts.st_size))
    return found


def _empty(path: Path, size: int) -> None:
    if size:
        with suppress(OSError):
            os.truncate(path, 0)
