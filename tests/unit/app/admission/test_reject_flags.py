"""Whom nginx is told to refuse: a file by that name, from a refusal of ours until there is room for several."""

import os
import re
import time
from pathlib import Path

import pytest

from app.admission.flags import EVERYBODY, SLACK, STALE_S, RejectFlags, free_places

NGINX = Path(__file__).parents[4] / "nginx"


def flags(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_refusals_last_until_there_is_room(tmp_path: Path) -> None:
    shut = RejectFlags(tmp_path)
    shut.raise_flag("abcdefgh", lambda: False)
    shut.clear_flag("abcdefgh", lambda: False)
    assert flags(tmp_path) == ["abcdefgh"]
    shut.clear_flag("another2", lambda: True)
    assert flags(tmp_path) == ["abcdefgh"]
    RejectFlags(tmp_path).clear_flag("abcdefgh", lambda: True)
    assert flags(tmp_path) == []


def test_no_refusal_flag_without_load(tmp_path: Path) -> None:
    RejectFlags(tmp_path).raise_flag(EVERYBODY, lambda: True)
    assert flags(tmp_path) == []


def test_room_is_not_checked_without_refusals(tmp_path: Path) -> None:
    asked: list[bool] = []
    RejectFlags(tmp_path).clear_flag(EVERYBODY, lambda: bool(asked.append(True)))
    assert asked == []


def test_what_a_killed_worker_left_goes(tmp_path: Path) -> None:
    shut = RejectFlags(tmp_path)
    shut.raise_flag(EVERYBODY, lambda: False)
    shut.remove_stale()
    assert flags(tmp_path) == [EVERYBODY]
    then = time.time() - STALE_S - 1
    os.utime(tmp_path / EVERYBODY, (then, then))
    shut.remove_stale()
    assert flags(tmp_path) == []


def test_a_folder_that_cannot_be_is_no_trouble(tmp_path: Path) -> None:
    for shut in (RejectFlags(tmp_path / "no" / "such"), RejectFlags(None)):
        shut.raise_flag(EVERYBODY, lambda: False)
        shut.clear_flag(EVERYBODY, lambda: True)
        shut.remove_stale()


@pytest.mark.parametrize(("places", "free"), [(1, 1), (SLACK, 1), (2 * SLACK, 2), (40, 5)])
def test_a_part_of_the_places_must_be_free(places: int, free: int) -> None:
    assert free_places(places) == free


def test_nginx_has_the_same_word() -> None:
    assert EVERYBODY in re.findall(r'"off POST \S+"\s+(\w+);', (NGINX / "conf.d" / "reject.conf").read_text())
