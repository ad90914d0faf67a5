from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.watchdog import backend_processes
from tests.support.stacks import until


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with the command line of a backend process, whose server is this process."""
    program = tmp_path / "models" / "film" / "2" / "triton_python_backend_stub"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nread never\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        until(lambda: [stub for stub in backend_processes.of_server(os.getpid()) if stub.model], 5)
        yield process
        process.kill()


def test_backend_process_of_a_model(stub: subprocess.Popen[bytes]) -> None:
    (living,) = backend_processes.of_server(os.getpid())
    assert (living.pid, living.model, living.dead) == (stub.pid, "film@2", False)

    stub.kill()

    until(
        lambda: (
            [(process.pid, process.dead) for process in backend_processes.of_server(os.getpid())] == [(stub.pid, True)]
        ),
        5,
    )
    assert backend_processes.of_server(stub.pid) == []  # processes of another server are not listed
