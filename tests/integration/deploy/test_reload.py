"""Reload of the real gunicorn with our hooks: old web workers answer until new ones do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import CHECKOUT
from deploy.stack import processes
from tests.support.leaks import descendants

BEGINS_S = 2.0
GUNICORN = """
import time
exec(compile(open("deploy/gunicorn/config.py").read(), "gunicorn.conf.py", "exec"))
bind, wsgi_app, workers, pidfile = "unix:" + {socket!r}, "tests.support.tiny_wsgi:application", 2, None
numbers = []

def start(app, gpu):
    time.sleep({begins})

def stop(app):
    pass
"""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    conf = GUNICORN.format(socket=str(tmp_path / "socket"), begins=BEGINS_S)
    (tmp_path / "conf.py").write_text(conf)
    command = [sys.executable, "-m", "gunicorn", "-c", str(tmp_path / "conf.py")]
    environment = os.environ | {"CLIPSTACK_RUN_DIR": str(tmp_path)}
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield process
    process.terminate()
    process.wait(60)


def answer_s(place: Path) -> float:
    """Return the seconds until the application answers."""
    begin = time.monotonic()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(place))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 204")
    return time.monotonic() - begin


def test_no_request_waits_for_new_workers_to_start(master: subprocess.Popen[bytes], tmp_path: Path) -> None:
    deadline = time.monotonic() + 60
    while not (tmp_path / "socket").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    answer_s(tmp_path / "socket")
    for _ in range(2):
        old = descendants(master.pid)
        master.send_signal(signal.SIGHUP)
        slowest = 0.0
        while any(map(processes.is_running, old)) and time.monotonic() < deadline:
            slowest = max(slowest, answer_s(tmp_path / "socket"))
            time.sleep(0.02)
        assert not any(map(processes.is_running, old)) and len(descendants(master.pid)) == 2
        assert slowest < BEGINS_S / 2
