"""Reject flags for nginx: a file per key, from a refusal until there is room for several requests."""

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
    flag_folder = RejectFlags(tmp_path)
    flag_folder.raise_flag("abcdefgh", lambda: False)
    flag_folder.clear_flag("abcdefgh", lambda: False)
    assert flags(tmp_path) == ["abcdefgh"]
    flag_folder.clear_flag("another2", lambda: True)
    assert flags(tmp_path) == ["abcdefgh"]
    RejectFlags(tmp_path).clear_flag("abcdefgh", lambda: True)
    assert flags(tmp_path) == []


def test_no_refusal_flag_without_load(tmp_path: Path) -> None:
    RejectFlags(tmp_path).raise_flag(EVERYBODY, lambda: True)
    assert flags(tmp_path) == []


def test_room_is_not_checked_without_refusals(tmp_path: Path) -> None:
    calls: list[bool] = []
    RejectFlags(tmp_path).clear_flag(EVERYBODY, lambda: bool(calls.append(True)))
    assert calls == []


def test_stale_flags_of_a_killed_worker_are_removed(tmp_path: Path) -> None:
    flag_folder = RejectFlags(tmp_path)
    flag_folder.raise_flag(EVERYBODY, lambda: False)
    flag_folder.remove_stale()
    assert flags(tmp_path) == [EVERYBODY]
    then = time.time() - STALE_S - 1
    os.utime(tmp_path / EVERYBODY, (then, then))
    flag_folder.remove_stale()
    assert flags(tmp_path) == []


def test_missing_folder_is_ignored(tmp_path: Path) -> None:
    for flag_folder in (RejectFlags(tmp_path / "no" / "such"), RejectFlags(None)):
        flag_folder.raise_flag(EVERYBODY, lambda: False)
        flag_folder.clear_flag(EVERYBODY, lambda: True)
        flag_folder.remove_stale()


@pytest.mark.parametrize(("places", "free"), [(1, 1), (SLACK, 1), (2 * SLACK, 2), (40, 5)])
def test_several_places_must_be_free(places: int, free: int) -> None:
    assert free_places(places) == free


def test_nginx_has_the_same_flag_name() -> None:
    assert EVERYBODY in re.findall(r'"off POST \S+"\s+(\w+);', (NGINX / "conf.d" / "reject.conf").read_text())
