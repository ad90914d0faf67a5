"""The command line in this process and in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from tests.support.client_service import RecordedService

COMMAND = [sys.executable, "-c", "from clipstack_client.cli import main; main(prog_name='clipstack')"]
CHECKOUT = Path(__file__).resolve().parents[2]
Run = Callable[..., Result]  # runs `clipstack ...` in this process


class Running:
    """`clipstack ...` as a process of its own."""

    def __init__(self, service: RecordedService, *arguments: str | Path) -> None:
        environment = {**os.environ, "CLIPSTACK_URL": service.url}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], env=environment, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end(self, with_signal: int) -> tuple[int, str]:
        self.process.send_signal(with_signal)
        _, err = self.process.communicate(timeout=10)
        return self.process.returncode, err.decode()


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def uploads(service: RecordedService) -> int:
    return sum(request.method == "POST" for request in service.received)
