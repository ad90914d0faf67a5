"""A web worker that cannot start exits at once, also if gunicorn's master was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stacks import CHECKOUT, until

CONFIG = """
import os, pathlib, time

bind, workers, graceful_timeout = "unix:{folder}/socket", {workers}, 60
worker_class, worker_tmp_dir, control_socket_disable = "deploy.gunicorn.worker.Worker", "{folder}", True


def post_worker_init(worker):
    pathlib.Path("{folder}", f"worker-{{os.getpid()}}").touch()
    while {orphaned} and os.getppid() == worker.ppid:
        time.sleep(0.01)
    raise RuntimeError("it cannot start")
"""
PATIENCE_S = 15  # a quarter of what gunicorn would have waited


def started(folder: Path, *, orphaned: bool) -> subprocess.Popen[bytes]:
    config = folder / "gunicorn.conf.py"
    config.write_text(CONFIG.format(folder=folder, workers=2 if orphaned else 1, orphaned=orphaned))
    command = [sys.executable, "-m", "gunicorn", "-c", str(config), "wsgiref.simple_server:demo_app"]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def workers(folder: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in folder.glob("worker-*")]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_worker_without_its_master_exits(tmp_path: Path) -> None:
    with started(tmp_path, orphaned=True) as master:
        assert master.stdout is not None
        try:
            until(lambda: len(workers(tmp_path)) == 2, PATIENCE_S)
            master.stdout.close()
        finally:
            master.kill()
    try:
        until(lambda: all(map(gone, workers(tmp_path))), PATIENCE_S)
    finally:
        for pid in workers(tmp_path):
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


def test_master_logs_the_reason(tmp_path: Path) -> None:
    with started(tmp_path, orphaned=False) as master:
        try:
            said, _ = master.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            master.kill()
            pytest.fail("a worker that cannot start is started for ever")
    assert master.returncode == 3, "gunicorn's status for that"
    assert b"this worker ends" in said and b"RuntimeError: it cannot start" in said
