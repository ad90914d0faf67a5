"""A job worker that is stopped while it starts."""

import os
import subprocess
import sys
from pathlib import Path

from app.settings import CHECKOUT
from tests.support.stacks import until


def test_job_worker_stopped_while_it_starts_removes_its_region(tmp_path: Path) -> None:
    (tmp_path / "run" / "web").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    folders = {"CLIPSTACK_RUN_DIR": str(tmp_path / "run"), "CLIPSTACK_DATA_DIR": str(tmp_path / "data")}
    worker = subprocess.Popen(
        [sys.executable, "-m", "app.job_worker"], cwd=CHECKOUT, env=os.environ | folders, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: list(Path("/dev/shm").glob(f"clipstack-{worker.pid}-*")), 60)
        worker.terminate()
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
    assert not list(Path("/dev/shm").glob(f"clipstack-{worker.pid}-*"))
