"""Assignment of GPUs to gunicorn's workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import CHECKOUT

GUNICORN = """
exec(compile(open("deploy/gunicorn/config.py").read(), "gunicorn.conf.py", "exec"))
numbers[:] = [0, 1]
bind, wsgi_app, preload_app, workers = "unix:" + {socket!r}, "tests.support.tiny_wsgi:application", False, 4
pidfile = None

def post_worker_init(worker):
    print("gpu", worker.gpu, "worker", worker.pid, flush=True)

def worker_exit(server, worker):
    pass
"""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The real gunicorn with the stack's hooks, four workers and two GPUs; it prints the assignments."""
    (tmp_path / "conf.py").write_text(GUNICORN.format(socket=str(tmp_path / "socket")))
    command = [sys.executable, "-m", "gunicorn", "-c", str(tmp_path / "conf.py")]
    environment = os.environ | {"CLIPSTACK_RUN_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    yield process
    process.terminate()
    process.communicate(timeout=60)


def assignments(master: subprocess.Popen[str], count: int) -> dict[int, int]:
    """Return the next `count` workers that start and their GPUs."""
    assert master.stdout
    gpus: dict[int, int] = {}
    deadline = time.monotonic() + 60
    while len(gpus) < count and time.monotonic() < deadline:
        words = master.stdout.readline().split()
        if words[:1] == ["gpu"]:
            gpus[int(words[3])] = int(words[1])
    return gpus


def test_gunicorn_workers_take_gpus_in_turns(
    master: subprocess.Popen[str],
) -> None:
    first = assignments(master, 4)
    assert sorted(first.values()) == [0, 0, 1, 1]
    for pid, gpu in list(first.items())[:3]:
        os.kill(pid, signal.SIGKILL)
        assert list(assignments(master, 1).values()) == [gpu]
