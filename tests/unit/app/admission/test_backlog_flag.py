"""The backlog flag for nginx: a file whose name is a number of seconds."""

import os
import time
from pathlib import Path

import pytest

from app.admission.flags import BACKLOG_STALE_S, STEPS_S, BacklogFlag

SNIPPET = Path(__file__).parents[4] / "nginx" / "snippets" / "backlog.conf"


def flags(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("seconds", "name"), [(2.5, "4"), (5, "8"), (10, "15"), (20, "30"), (1000, "30")])
def test_a_backlog_is_a_file(tmp_path: Path, seconds: float, name: str) -> None:
    BacklogFlag(tmp_path / "backlog").publish(seconds)
    assert flags(tmp_path / "backlog") == [name]


def test_short_backlog_has_no_file(tmp_path: Path) -> None:
    BacklogFlag(tmp_path).publish(1.9)
    assert flags(tmp_path) == []


def test_stale_flag_is_removed(tmp_path: Path) -> None:
    BacklogFlag(tmp_path).publish(1000)
    BacklogFlag(tmp_path).publish(0)
    assert flags(tmp_path) == ["30"]  # it may be another worker's
    then = time.time() - BACKLOG_STALE_S - 1
    os.utime(tmp_path / "30", (then, then))
    BacklogFlag(tmp_path).publish(0)
    assert flags(tmp_path) == []


def test_missing_folder_is_ignored(tmp_path: Path) -> None:
    BacklogFlag(tmp_path / "no" / "such").publish(1000)


def test_nginx_has_the_same_list_in_rising_order() -> None:
    steps = [int(line.split("/")[-1].rstrip('") {')) for line in SNIPPET.read_text().splitlines() if "-f" in line]
    assert steps == list(STEPS_S)
