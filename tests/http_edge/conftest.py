"""One stack for all tests of this folder, with a tap between nginx and the app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.stack import paths
from deploy.stack.stack import Stack
from tests.http_edge.connections import Stalled
from tests.http_edge.request_tap import Tap, tapped
from tests.http_edge.response_checks import ResponseCheck
from tests.http_edge.stack_snapshot import State, whole
from tests.support.stacks import running_stack, until

MAX_UPLOAD_MB = 16
DECODE_TIMEOUT_S = 2
# Run last: they wait for the stalled requests, or check what all other tests left
LAST = (
    "test_stalled_headers",
    "test_stalled_bodies",
    "test_slow_clients",
    "test_stack_is_unchanged_afterwards",
    "test_own_mistake",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    late = [item for item in items if item.path.parent == Path(__file__).parent and item.name in LAST]
    late.sort(key=lambda item: LAST.index(item.name))
    items[:] = [item for item in items if item not in late] + late


@pytest.fixture(scope="session")
def edge() -> Iterator[Stack]:
    """The stack under test; its log has the headers that the app saw."""
    settings = {
        "max_upload_mb": str(MAX_UPLOAD_MB),
        "decode_timeout_s": str(DECODE_TIMEOUT_S),
        "log_level": "debug",
        "web_workers": "2",
    }
    settings["allowed_hosts"] = "x,y.example:8443"  # "Host: x" is what most requests here say
    settings["origins"] = "http://page.example"
    with running_stack(wait=False, **settings) as stack:
        yield stack


@pytest.fixture(scope="session")
def before(edge: Stack) -> State:
    """The state of the stack before the first bad request."""
    until(lambda: whole(edge), 60)
    return State.of(edge)


@pytest.fixture(scope="session")
def tap(edge: Stack, before: State) -> Iterator[Tap]:
    with tapped(edge.run_dir / paths.WEB_SOCKET) as tap:
        yield tap


@pytest.fixture(scope="session")
def stalled(edge: Stack, tap: Tap) -> Iterator[Stalled]:
    """Clients that stop in the middle of a request and stay connected while all other tests run."""
    with Stalled(edge.url) as stalled:
        yield stalled


@pytest.fixture(autouse=True)
def _all_at_once(stalled: Stalled) -> None:
    """Start the stalled requests with the first test."""


@pytest.fixture
def check_response(edge: Stack, tap: Tap) -> ResponseCheck:
    return ResponseCheck(edge, tap)
