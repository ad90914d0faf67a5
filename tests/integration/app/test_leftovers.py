"""Leftovers of killed processes are removed, files in use are kept."""

from __future__ import annotations

import base64
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask, request

from app.pipeline.leftovers import STALE_S, remove_all
from app.shm.pool import SHM
from app.uploads.parser import receive
from tests.support.leaks import descendants
from tests.support.stacks import until

HOLDER = "import sys; file = open(sys.argv[1], sys.argv[2]); print('open', flush=True); sys.stdin.read()"
POOL = """
import multiprocessing, sys, tempfile
if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    lock = context.RLock()
    process = context.Process(target=int)
    process.start()
    process.join()
    print(multiprocessing.util.get_temp_dir(), lock._semlock.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of uploads; TMPDIR is another one whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        (tmp_path / "uploads").mkdir()
        yield tmp_path / "uploads"


def aged(path: Path) -> Path:
    then = time.time() - 2 * STALE_S
    os.utime(path, (then, then), follow_symlinks=False)
    return path


def upload(folder: Path, name: str = "0000000001") -> Path:
    path = folder / name
    path.write_bytes(b"body")
    path.chmod(0o644)
    return aged(path)


@contextmanager
def opened_elsewhere(path: Path, mode: str, user: int | None = None) -> Iterator[None]:
    """Keep the file open in another process, of another user if one is given, for the block."""
    command = [sys.executable, "-c", HOLDER, str(path), mode]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=user, cwd="/", text=True
    ) as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == "open\n"
        yield
        process.stdin.close()


def test_old_unused_upload_is_removed(uploads: Path) -> None:
    path = upload(uploads)
    assert remove_all(uploads) >= 1
    assert not path.exists()


def test_young_upload_stays(uploads: Path) -> None:
    path = uploads / "0000000001"
    path.write_bytes(b"body")
    remove_all(uploads)
    assert path.exists()


@pytest.mark.parametrize("mode", ["rb", "ab"])
def test_open_upload_stays(uploads: Path, mode: str) -> None:
    path = upload(uploads)
    with opened_elsewhere(path, mode):
        remove_all(uploads)
        assert path.exists()
    remove_all(uploads)
    assert not path.exists()


def test_upload_opened_by_another_user_stays(uploads: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can run a process as another user")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        path = upload(Path(name))
        with opened_elsewhere(path, "rb", user=65534):
            remove_all(Path(name))
            assert path.exists()


def test_mapped_upload_stays(uploads: Path) -> None:
    path = upload(uploads)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    remove_all(uploads)
    assert path.exists()
    mapped.close()


def test_linked_and_foreign_uploads_stay(uploads: Path, tmp_path: Path) -> None:
    target = upload(tmp_path, "job")
    (uploads / "link").symlink_to(target)
    aged(uploads / "link")
    if os.geteuid() == 0:
        os.chown(upload(uploads, "theirs"), 65534, 65534)
    before = set(uploads.iterdir())
    remove_all(uploads)
    assert set(uploads.iterdir()) == before
    assert target.exists()


def test_json_upload_stays_during_its_request(uploads: Path) -> None:
    body = {"file": base64.b64encode(b"film" * 100).decode()}
    with (
        Flask("test").test_request_context("/", method="POST", data=json.dumps(body), content_type="application/json"),
        receive(request, uploads, 1 << 20) as received,
    ):
        for path in uploads.iterdir():
            aged(path)
        remove_all(uploads)
        assert Path(received.source.path).read_bytes() == b"film" * 100
    assert not list(uploads.iterdir())


def test_leftovers_of_killed_processes_are_removed(uploads: Path) -> None:
    environment = {**os.environ, "TMPDIR": tempfile.gettempdir()}
    process = subprocess.Popen(
        [sys.executable, "-c", POOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    with process:
        assert process.stdout
        name, semaphore = process.stdout.readline().split()
        folder, lock = Path(name), SHM / f"sem.{semaphore.removeprefix('/')}"
        aged(folder), aged(lock)
        remove_all(uploads)
        assert folder.exists() and lock.exists()
        family = descendants(process.pid) | {process.pid}
        for pid in family:  # with the resource tracker, which would clean up
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}/fd").exists() and is_alive(pid) for pid in family), 10)
    assert folder.exists() and lock.exists()
    remove_all(uploads)
    assert not folder.exists()
    assert not lock.exists()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
