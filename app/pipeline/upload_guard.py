"""Protection of the disk against uploads: a minimum of free space and a minimum rate of each upload.

nginx receives the uploads but has neither of the two limits. Each web worker runs the checks every two seconds.
"""

import logging
import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from app.admission.flags import RejectFlags
from app.uploads.parser import MIN_BYTES_S, rejected_path

# Flags for all uploads and for uploads that become jobs; as in nginx/conf.d/reject.conf
STORAGE_FULL, JOBS_FULL = "storage_full", "jobs_full"
LEAST_WINDOW_S = 120.0
# Added to the longest response time: a file that a worker processes does not grow and is not a slow upload
WINDOW_SLACK_S = 30.0

log = logging.getLogger(__name__)


class UploadGuard:
    """Guard of the folders `uploads` and `data` (of jobs): by `reject_flags`, nginx rejects uploads.

    `longest_answer_s` is the longest time from a complete upload to its response, seconds.
    """

    part_of_disk = 0.05  # upper bound of the minimum free space, as a fraction of the disk

    def __init__(
        self, reject_flags: RejectFlags, uploads: Path, data: Path, min_free_bytes: int, longest_answer_s: float
    ) -> None:
        self._reject_flags, self._uploads = reject_flags, uploads
        self._folders = {STORAGE_FULL: uploads, JOBS_FULL: data}
        self._min_free_bytes = min_free_bytes
        self.window_s = max(LEAST_WINDOW_S, longest_answer_s + WINDOW_SLACK_S)
        self._status: dict[str, tuple[int, float]] = {}  # by file name: size, and the time at which it was reached

    def check(self) -> None:
        """Reject new uploads while a disk is nearly full, and end slow ones."""
        for name, folder in self._folders.items():
            if self.is_low(folder):
                self._reject_flags.raise_flag(name, lambda: False)
            else:
                self._reject_flags.clear_flag(name, lambda: True)
        if ended := self.end_slow(time.monotonic()):
            log.warning("%d uploads were given up: slower than %d bytes a second", ended, MIN_BYTES_S)

    def is_low(self, folder: Path) -> bool:
        """Return whether the disk of `folder` has less than the minimum free space."""
        try:
            total, _, free = shutil.disk_usage(folder)
        except OSError:
            return False
        return free < min(self._min_free_bytes, total * self.part_of_disk)

    def end_slow(self, now: float) -> int:
        """Rename and truncate the files of slow uploads, and return their number.

        nginx goes on receiving the upload into the renamed file, which stays nearly empty. After the last byte the
        worker finds no file under the old name and responds 408. app/pipeline/leftovers.py removes the renamed file.
        """
        progress: dict[str, tuple[int, float]] = {}
        ended = 0
        for path, size in _files(self._uploads):
            if path == rejected_path(path):
                _empty(path, size)
            elif path.name.isdecimal():  # nginx's file names
                before, since = self._status.get(path.name, (size, now))
                if size < before or size >= before + MIN_BYTES_S * self.window_s:
                    before, since = size, now
                progress[path.name] = (before, since)
                if now - since > self.window_s:
                    with suppress(OSError):  # it ended, or another worker renamed it
                        path.rename(rejected_path(path))
                        ended += 1
                        _empty(rejected_path(path), size)
        self._status = progress
        return ended


def _files(folder: Path) -> list[tuple[Path, int]]:
    """Return the files in `folder` with their sizes, except files that a job has hard-linked."""
    files = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
                    files.append((Path(entry.path), info.st_size))
    return files


def _empty(path: Path, size: int) -> None:
    if size:
        with suppress(OSError):
            os.truncate(path, 0)
