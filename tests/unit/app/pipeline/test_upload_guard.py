"""Uploads that would fill the disk: a minimum of free space, and too slow uploads, with a clock of the test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask, request

from app.admission.flags import RejectFlags
from app.auth.key_check import upload_limit
from app.errors import RequestTimeout
from app.pipeline.upload_guard import JOBS_FULL, LEAST_WINDOW_S, STORAGE_FULL, UploadGuard
from app.uploads.parser import MIN_BYTES_S, receive

NGINX = Path(__file__).parents[4] / "nginx"
ENOUGH = int(MIN_BYTES_S * LEAST_WINDOW_S)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "reject").mkdir()
    return tmp_path / "uploads"


def guard(uploads: Path, least_free_bytes: int = 0, longest_answer_s: float = 10) -> UploadGuard:
    return UploadGuard(RejectFlags(uploads.parent / "reject"), uploads, uploads, least_free_bytes, longest_answer_s)


def grow(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)


def names(uploads: Path) -> list[str]:
    return sorted(path.name for path in uploads.iterdir())


def test_slow_upload_is_ended_and_its_space_freed(uploads: Path) -> None:
    quick, watched = uploads / "0000000001", guard(uploads)
    grow(quick, 1 << 20)
    with (uploads / "0000000002").open("wb") as slow:  # nginx holds it open
        slow.truncate(1 << 20)
        assert watched.end_slow(0) == 0
        for step in range(1, 4):
            grow(quick, (1 << 20) + step * ENOUGH)
            slow.truncate((1 << 20) + step * 1000)
            assert watched.end_slow(step * (LEAST_WINDOW_S + 1)) == (step == 1)
            assert names(uploads) == ["0000000001", "slow-0000000002"]
            assert (uploads / "slow-0000000002").stat().st_size == 0


def test_files_in_use_are_kept(uploads: Path) -> None:
    kept, other, watched = uploads / "0000000001", uploads / "body-1", guard(uploads, longest_answer_s=300)
    for path in (kept, other):
        grow(path, 1000)
    kept_by_job = uploads / "0000000002"
    grow(kept_by_job, 1000)
    (uploads.parent / "source").hardlink_to(kept_by_job)
    watched.end_slow(0)
    assert watched.end_slow(299) == 0
    assert watched.end_slow(331) == 1, "only the first"
    assert names(uploads) == ["0000000002", "body-1", "slow-0000000001"]


def test_reused_file_name_is_a_new_upload(uploads: Path) -> None:
    path, watched = uploads / "0000000001", guard(uploads)
    grow(path, 5000)
    watched.end_slow(0)
    path.unlink()
    grow(path, 100)
    assert watched.end_slow(LEAST_WINDOW_S + 1) == 0


def test_slow_upload_gets_request_timeout(uploads: Path) -> None:
    (uploads / "slow-0000000001").touch()
    with (
        Flask(__name__).test_request_context(headers={"X-Upload-Path": str(uploads / "0000000001")}),
        pytest.raises(RequestTimeout, match="8 KiB/s"),
        receive(request, uploads, 1 << 20),
    ):
        pass


def test_nginx_refuses_uploads_below_the_free_space(uploads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags, conf = uploads.parent / "reject", (NGINX / "conf.d" / "reject.conf").read_text()
    monkeypatch.setattr(UploadGuard, "part_of_disk", 1)
    UploadGuard(RejectFlags(flags), uploads, uploads / "gone", 1 << 60, 10).check()
    assert names(flags) == [STORAGE_FULL]
    UploadGuard(RejectFlags(flags), uploads, uploads, 1 << 60, 10).check()
    assert names(flags) == [JOBS_FULL, STORAGE_FULL]
    assert all(re.search(rf"POST.* {name};", conf) for name in (STORAGE_FULL, JOBS_FULL))
    guard(uploads, least_free_bytes=1).check()
    assert names(flags) == [], "there is room again"


@pytest.mark.parametrize(("at_work", "most"), [(1, 3), (2, 4), (4, 6), (40, 48), (4096, 6144), (10_000, 6144)])
def test_key_may_upload_slightly_more_than_its_concurrency(at_work: int, most: int) -> None:
    assert upload_limit(at_work) == most
