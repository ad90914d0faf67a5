"""A real Redis of the tests' own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.stack.ports import free_ports
from tests.support.stacks import until


@contextmanager
def running_redis(folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Run a Redis and yield its address; skip the test if there is none."""
    program = shutil.which("redis-server")
    if not program:
        pytest.skip("no redis-server: install Debian's package")
    (port,) = free_ports(1)
    command = [
        program,
        "--port",
        str(port),
        "--bind",
        host,
        "--protected-mode",
        "no",
        "--dir",
        str(folder),
        "--save",
        "",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until(
                lambda: (
                    subprocess.run(["redis-cli", "-h", host, "-p", str(port), "ping"], capture_output=True).returncode
                    == 0
                ),
                10,
            )
            yield f"redis://{host}:{port}/0"
        finally:
            server.terminate()
