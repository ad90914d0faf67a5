"""Resumable uploads on disk: offsets, limits, locks, kills and expiry."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app import errors
from app.uploads import errors as upload_errors
from app.uploads import resumable, transfer, tus
from app.uploads.resumable import ResumableStore, ResumableUpload, UploadLimits
from app.uploads.transfer import Body, TransferLimiter, append

CONTENT = os.urandom(700_000)


def store(folder: Path, **limits: float) -> ResumableStore:
    values = {"max_count": 4, "max_bytes": 4 << 20, "free_bytes": 0, "lifetime_s": 3600.0} | limits
    return ResumableStore(folder / "uploads", UploadLimits(**values))  # type: ignore[arg-type]


def body(content: bytes, length: int | None = -1) -> Body:
    return Body(io.BytesIO(content).read, len(content) if length == -1 else length)


def checksum(content: bytes, algorithm: str = "sha256") -> tus.Checksum:
    return tus.Checksum(algorithm, hashlib.new(algorithm, content).digest())


@pytest.fixture
def uploads(tmp_path: Path) -> ResumableStore:
    return store(tmp_path)


@pytest.fixture
def upload(uploads: ResumableStore) -> ResumableUpload:
    return uploads.create("", len(CONTENT), "")


def test_upload_arrives_in_chunks(upload: ResumableUpload) -> None:
    assert append(upload, body(CONTENT[:1000]), 0, None) == 1000
    assert append(upload, body(CONTENT[1000:], None), 1000, checksum(CONTENT[1000:])) == len(CONTENT)
    assert upload.data.read_bytes() == CONTENT


def test_broken_connection_keeps_what_arrived(upload: ResumableUpload) -> None:
    with pytest.raises(errors.ClientDisconnected):
        append(upload, body(CONTENT[:5000], 9000), 0, None)
    assert upload.offset == 5000


def test_broken_chunk_with_checksum_is_discarded(upload: ResumableUpload) -> None:
    append(upload, body(CONTENT[:1000]), 0, None)
    with pytest.raises(errors.ClientDisconnected):
        append(upload, body(CONTENT[1000:5000], 9000), 1000, checksum(CONTENT[1000:10_000]))
    assert upload.offset == upload.data.stat().st_size == 1000


@pytest.mark.parametrize("algorithm", tus.ALGORITHMS)
def test_wrong_checksum_discards_chunk(upload: ResumableUpload, algorithm: str) -> None:
    with pytest.raises(upload_errors.ChecksumMismatch):
        append(upload, body(CONTENT), 0, checksum(b"other", algorithm))
    assert upload.offset == 0


def test_killed_chunk_with_checksum_does_not_count(uploads: ResumableStore, upload: ResumableUpload) -> None:
    append(upload, body(CONTENT[:1000]), 0, None)
    upload.mark_unchecked(1000)  # then killed after some bytes
    with upload.data.open("ab") as file:
        file.write(b"never confirmed")
    again = uploads.find("", upload.id)
    assert again.offset == 1000
    append(again, body(CONTENT[1000:]), 1000, None)
    assert again.data.read_bytes() == CONTENT


def test_other_offset_is_refused(upload: ResumableUpload) -> None:
    with pytest.raises(upload_errors.OffsetConflict, match="0 bytes have arrived"):
        append(upload, body(CONTENT), 7, None)


@pytest.mark.parametrize("length", [-1, None])
def test_more_than_announced_is_refused(upload: ResumableUpload, length: int | None) -> None:
    with pytest.raises(errors.TooLarge):
        append(upload, body(CONTENT + b"x", length), 0, None)
    assert upload.offset <= len(CONTENT)


def test_upload_is_used_once(uploads: ResumableStore, upload: ResumableUpload) -> None:
    append(upload, body(CONTENT[:9]), 0, None)
    with pytest.raises(upload_errors.UploadIncomplete), uploads.use("", upload.id):
        pass
    append(upload, body(CONTENT[9:]), 9, None)
    with pytest.raises(KeyError), uploads.use("", upload.id):
        raise KeyError
    with uploads.use("", upload.id) as used:
        assert used.data.read_bytes() == CONTENT
    with pytest.raises(upload_errors.UploadNotFound), uploads.use("", upload.id):
        pass


@pytest.mark.parametrize("identity", ["0" * 32, "..", "lock", "A" * 32, ""])
def test_unknown_upload_is_not_found(uploads: ResumableStore, upload: ResumableUpload, identity: str) -> None:
    with pytest.raises(upload_errors.UploadNotFound):
        uploads.find("", identity)


def test_upload_of_another_owner_is_not_found(uploads: ResumableStore, upload: ResumableUpload) -> None:
    with pytest.raises(upload_errors.UploadNotFound):
        uploads.find("abcdefgh", upload.id)


def test_locked_upload_waits_then_refuses(
    uploads: ResumableStore, upload: ResumableUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "LOCK_WAIT_S", 0.1)
    with (
        uploads.locked("", upload.id),
        pytest.raises(upload_errors.UploadLocked),
        uploads.locked("", upload.id),
    ):
        pass


def test_limits_of_count_and_bytes_are_of_each_owner(tmp_path: Path) -> None:
    uploads = store(tmp_path, max_count=2, max_bytes=100)
    uploads.create("a", 60, "")
    with pytest.raises(errors.TooManyRequests, match="together"):
        uploads.create("a", 41, "")
    uploads.create("a", 40, "")
    with pytest.raises(errors.TooManyRequests, match="2 unfinished"):
        uploads.create("a", 0, "")
    uploads.create("b", 60, "")


def test_full_disk_refuses_at_creation(tmp_path: Path) -> None:
    with pytest.raises(errors.StorageFull):
        store(tmp_path, free_bytes=1 << 60).create("", 1, "")


def test_only_idle_uploads_and_old_leftovers_expire(tmp_path: Path) -> None:
    uploads = store(tmp_path)
    fresh, idle, busy = (uploads.create("", 9, "") for _ in range(3))
    for upload in (idle, busy):
        os.utime(upload.data, (0, 0))
    leftover = fresh.path.with_name(".new-x")
    leftover.mkdir()
    with uploads.locked("", busy.id):
        assert uploads.remove_expired() == 1
    assert (fresh.path.exists(), idle.path.exists(), busy.path.exists(), leftover.exists()) == (True, False, True, True)


def test_damaged_record_is_not_found_and_does_not_count(tmp_path: Path) -> None:
    uploads = store(tmp_path, max_count=1)
    upload = uploads.create("", 9, "")
    (upload.path / "info.json").write_text("{")
    with pytest.raises(upload_errors.UploadNotFound):
        uploads.find("", upload.id)
    uploads.create("", 9, "")


def test_slow_body_is_ended_and_kept(upload: ResumableUpload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PACE_WINDOW_S", 0.2)
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as file:
        theirs.sendall(b"slow")
        slow = Body(file.read, 100, lambda: ours.shutdown(socket.SHUT_RD))
        with pytest.raises(errors.RequestTimeout):
            append(upload, slow, 0, None)
    assert upload.data.read_bytes() == b"slow"


def test_transfers_are_limited_in_all_and_by_owner() -> None:
    limiter = TransferLimiter(3)
    with limiter.hold("a"), limiter.hold("a"):
        with pytest.raises(errors.TooManyRequests), limiter.hold("a"):
            pass
        with limiter.hold("b"), pytest.raises(errors.Overloaded), limiter.hold("c"):
            pass
    with limiter.hold("a"):
        pass


def raised(call: Callable[[], object]) -> bool:
    try:
        call()
    except errors.BadRequest:
        return True
    return False


def test_headers_are_validated() -> None:
    assert tus.parse_metadata("filename Y2xpcC5tcDQ=,private") == {"filename": "clip.mp4", "private": ""}
    assert tus.parse_checksum("sha1 " + base64.b64encode(bytes(20)).decode()) == tus.Checksum("sha1", bytes(20))
    wrong = ["filename ?", "a Y2xpcC5tcDQ=,a Y2xpcC5tcDQ=", "a " + "x" * 5000, "é Y2xpcC5tcDQ="]
    assert all(raised(lambda text=text: tus.parse_metadata(text)) for text in wrong)  # type: ignore[misc]
    assert all(raised(lambda text=text: tus.parse_checksum(text)) for text in ["md5 AAAA", "sha1", "sha1 AAAA"])  # type: ignore[misc]
    assert all(raised(lambda text=text: tus.parse_size("x", text)) for text in ["", "-1", "1.0", "²", "9" * 19])  # type: ignore[misc]


def test_only_one_of_many_creations_passes_limit(tmp_path: Path) -> None:
    uploads, made, refused = store(tmp_path, max_count=3), [], []

    def create() -> None:
        try:
            made.append(uploads.create("", 1, ""))
        except errors.TooManyRequests:
            refused.append(time.monotonic())

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (3, 5)
