"""Several processes of the real pytest: the tests of a file, and of a folder that shares something, stay in one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tests.support.groups import group

CONFTEST = """
from tests.support.groups import Groups

def pytest_xdist_make_scheduler(config, log):
    return Groups(config, log)
"""
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(8))
def test_nothing(number):
    pass
"""
FILES = ("docker/test_a.py", "docker/test_b.py", "stack/test_c.py", "stack/test_d.py", "unit/test_e.py")
RAN = re.compile(r"\[(gw\d)\] \[.*\] PASSED (\S+)")


def test_a_group_runs_in_one_process_and_all_processes_have_work(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(TESTS)
    words = ["-n", "2", "-v", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir", str(tmp_path), *FILES]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = RAN.findall(done.stdout)
    assert len(ran) == 8 * len(FILES)
    processes = defaultdict(set)
    for process, nodeid in ran:
        processes[group(nodeid)].add(process)
    assert processes.keys() == {"docker", "stack/test_c.py", "stack/test_d.py", "unit/test_e.py"}
    assert all(len(those) == 1 for those in processes.values())
    assert set.union(*processes.values()) == {"gw0", "gw1"}
