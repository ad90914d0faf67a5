import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.leaks import SHARED_MEMORY, guarded


@pytest.fixture
def complaints() -> list[str]:
    return []


def test_a_clean_block_is_quiet(complaints):
    with guarded(complaints.append, patience_s=0):
        pass
    assert complaints == []


def test_a_region_is_reported(complaints):
    region = SHARED_MEMORY / f"clipstack-{os.getpid()}-guard"
    with guarded(complaints.append, patience_s=0):
        region.touch()
    region.unlink()
    assert complaints == [f"left behind: {region}"]


def test_a_temporary_file_is_reported(complaints):
    with guarded(complaints.append, patience_s=0):
        handle, name = tempfile.mkstemp()
    os.close(handle)
    Path(name).unlink()
    assert complaints == [f"left behind: {name}"]


def test_a_process_is_reported(complaints):
    with guarded(complaints.append, patience_s=0):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.communicate(b"\n", timeout=10)
    assert len(complaints) == 1 and f"pid {child.pid} " in complaints[0]


def test_what_ends_within_the_patience_is_no_leak(complaints):
    with guarded(complaints.append, patience_s=10):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"])
    assert child.wait() == 0 and complaints == []
