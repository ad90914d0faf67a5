"""The client's own tests under every other Python that this machine has, with the newest packages it allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.stack.stack import Stack
from tests.e2e.test_client_install import check_installed_client
from tests.support.client_environment import CHECKOUT, VERSIONS, Environment

OPTIONS = ("-q", "--noconftest", "-o", "pythonpath=.", "-p", "no:cacheprovider")
NEEDS_THE_SERVICE = "--ignore-glob=*/test_reduction*.py"
OTHERS = pytest.mark.parametrize("version", [version for version in VERSIONS if version != "3.11"])


@pytest.mark.timeout(400)
@OTHERS
def test_installed_client_classifies_a_video(stack: Stack, tmp_path: Path, version: str) -> None:
    check_installed_client(stack, tmp_path, version)


@pytest.mark.timeout(600)
@OTHERS
def test_tests_of_the_client_pass(tmp_path: Path, version: str) -> None:
    environment = Environment(tmp_path, version)
    environment.install("./client[shrink,pandas]", "pytest", "pytest-timeout")
    tests = ("tests/unit/client", "tests/integration/client", NEEDS_THE_SERVICE)
    done = environment.run("python", "-m", "pytest", *OPTIONS, *tests, cwd=CHECKOUT)
    assert done.returncode == 0, done.stdout
