"""Fixtures for all tests: real footage, a running stack, and the leak guard."""

from __future__ import annotations

import multiprocessing.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.groups import Groups, end_stacks, in_order, note_stack
from tests.support.leaks import guarded

if TYPE_CHECKING:
    from xdist.remote import Producer

    from deploy.stack.stack import Stack

CHECKOUT = Path(__file__).resolve().parent.parent
FOOTAGE = CHECKOUT.parent / "shared" / "videos"


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a temporary folder of its own."""
    # tmp_path stays where pytest tidies it up; those of `-n 2` lie beside each other, because sockets' paths are short
    shared = os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    multiprocessing.util.get_temp_dir()  # lives as long as this process: outside the folder of the leak guard
    folder = tempfile.mkdtemp(prefix="clipstack-tests-", dir=shared)
    os.chmod(folder, 0o755)  # nginx's user passes through it when the tests run as root
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    # torch keeps what it compiled as long as it likes, and makes the folder when an exported program is loaded.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="torch-", dir=folder)
    # As many files at a time as there are cores: a thread of torch that waits must not keep one busy
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--repeats", type=int, default=1, help="of tests at random moments: kills, rounds of models")
    parser.addoption("--rows", default="all", help="faults to try: all, or their numbers: 1,2,3")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if any(item.get_closest_marker("alone") and "e2e" not in item.path.parts for item in items):
        raise pytest.UsageError("`make test` runs tests with the marker `alone` from tests/e2e only: move them there")
    in_order(items)


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    note_stack(fixturedef)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    end_stacks(item, nextitem)


@pytest.hookimpl(trylast=True)  # after the fixtures; xdist kills a process ten seconds after its session
def pytest_sessionfinish() -> None:
    from tests.support.stacks import wait_for_stops

    wait_for_stops()


@pytest.hookimpl(optionalhook=True)  # without xdist (`-p no:xdist`) the hook does not exist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    return Groups(config, log)


@pytest.fixture(scope="session")
def repeats(request: pytest.FixtureRequest) -> int:
    count: int = request.config.getoption("--repeats")
    return count


@pytest.fixture(scope="session")
def real_videos() -> Path:
    """Return the folder of real clips; skip the test where there is none."""
    if not FOOTAGE.is_dir():
        pytest.skip(f"no real footage: {FOOTAGE} does not exist")
    return FOOTAGE


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A ready stack with the default settings, shared by the session. Tests may not disturb it."""
    from tests.support.stacks import running_stack

    with running_stack(wait=False) as stack:
        yield stack


@pytest.fixture(autouse=True)
def leak_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a region, a temporary or uploaded file, or a process behind."""
    folders = []
    if "stack" in request.fixturenames:
        folders.append(request.getfixturevalue("stack").run_dir / "uploads")
    spared = request.getfixturevalue("browser_process") if "browser" in request.fixturenames else None
    if "cluster" in request.fixturenames:  # a load balancer replaces its workers
        spared = request.getfixturevalue("cluster").edge.pid
    with guarded(pytest.fail, *folders, spared=spared):
        yield
