"""The waiting flag: the age of a file shows jobs that uploads wait."""

import os
import time
from pathlib import Path

from app.admission.flags import RECENT_S, UploadWaitingFlag


def test_flag_is_visible_to_other_processes(tmp_path: Path) -> None:
    assert not UploadWaitingFlag(tmp_path / "waiting").is_recent()
    UploadWaitingFlag(tmp_path / "waiting").touch()
    assert UploadWaitingFlag(tmp_path / "waiting").is_recent()


def test_waiting_flag_expires_and_does_not_survive_reboot(tmp_path: Path) -> None:
    waiting = UploadWaitingFlag(tmp_path / "waiting")
    waiting.touch()
    for then in (time.monotonic() - RECENT_S - 0.1, time.monotonic() + 3600):
        os.utime(tmp_path / "waiting", (then, then))
        assert not waiting.is_recent()


def test_file_is_touched_rarely(tmp_path: Path) -> None:
    waiting = UploadWaitingFlag(tmp_path / "waiting")
    waiting.touch()
    (tmp_path / "waiting").unlink()
    for _ in range(100):
        waiting.touch()
    assert not waiting.is_recent()


def test_missing_folder_is_ignored(tmp_path: Path) -> None:
    nowhere = UploadWaitingFlag(tmp_path / "no" / "such")
    nowhere.touch()
    assert not nowhere.is_recent()
    nobody = UploadWaitingFlag(None)
    nobody.touch()
    assert not nobody.is_recent()
