"""The client's own tests under every other Python that this machine has, with the newest packages it allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.client_environment import CHECKOUT, VERSIONS, Environment

OPTIONS = ("-q", "--noconftest", "-o", "pythonpath=.", "-p", "no:cacheprovider")
NEEDS_THE_SERVICE = "--ignore=tests/integration/client/test_reduction.py"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "3.11"])
def test_tests_of_the_client_pass(tmp_path: Path, version: str) -> None:
    environment = Environment(tmp_path, version)
    environment.install("./client[shrink,pandas]", "pytest", "pytest-timeout")
    tests = ("tests/unit/client", "tests/integration/client", NEEDS_THE_SERVICE)
    done = environment.run("python", "-m", "pytest", *OPTIONS, *tests, cwd=CHECKOUT)
    assert done.returncode == 0, done.stdout
