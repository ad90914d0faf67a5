"""The command line as a process of its own, for tests of how it waits and ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.client_service import RecordedService

COMMAND = [sys.executable, "-c", "from clipstack_client.cli import main; main(prog_name='clipstack')"]
CHECKOUT = Path(__file__).resolve().parents[2]


class Running:
    """`clipstack ...` as a process, to be watched by what it writes and ended by a signal."""

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
