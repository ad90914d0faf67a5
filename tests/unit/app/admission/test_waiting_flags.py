"""That uploads wait is told to jobs by the age of one file."""

import os
import time
from pathlib import Path

from app.admission.flags import RECENT_S, UploadWaitingFlag


def test_what_one_worker_notes_another_process_sees(tmp_path: Path) -> None:
    assert not UploadWaitingFlag(tmp_path / "waiting").is_recent()
    UploadWaitingFlag(tmp_path / "waiting").touch()
    assert UploadWaitingFlag(tmp_path / "waiting").is_recent()


def test_waiting_flag_expires_and_does_not_survive_reboot(tmp_path: Path) -> None:
    waiting = UploadWaitingFlag(tmp_path / "waiting")
    waiting.touch()
    for then in (time.monotonic() - RECENT_S - 0.1, time.monotonic() + 3600):
        os.utime(tmp_path / "waiting", (then, then))
        assert not waiting.is_recent()


def test_many_that_wait_touch_it_seldom(tmp_path: Path) -> None:
    waiting = UploadWaitingFlag(tmp_path / "waiting")
    waiting.touch()
    (tmp_path / "waiting").unlink()
    for _ in range(100):
        waiting.touch()
    assert not waiting.is_recent()


def test_a_folder_that_cannot_be_is_no_trouble(tmp_path: Path) -> None:
    nowhere = UploadWaitingFlag(tmp_path / "no" / "such")
    nowhere.touch()
    assert not nowhere.is_recent()
    nobody = UploadWaitingFlag(None)
    nobody.touch()
    assert not nobody.is_recent()
