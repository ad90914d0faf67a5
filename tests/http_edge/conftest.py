"""One stack for all rows, with a tap on the way to the app; the way from a test to its row: its case's number."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.stack import paths
from deploy.stack.stack import Stack
from tests.http_edge.connections import Stalled
from tests.http_edge.request_tap import Tap, tapped
from tests.http_edge.rows import EdgeRow
from tests.http_edge.stack_snapshot import State, whole
from tests.support.stacks import running_stack, until

MAX_UPLOAD_MB = 16
DECODE_TIMEOUT_S = 2
# They wait for what began first, or look at what all others left; the very last leaves a traceback in a log
LAST = ("test_33", "test_34", "test_07", "test_83", "test_11")


def row_of(item: Any) -> EdgeRow:
    """`test_33_...` is row 33, and so is a case of another test whose `number` is 33."""
    given = getattr(item, "callspec", None)
    number = given.params["number"] if given else int(item.name.split("_")[1])
    row: EdgeRow = item.module.TABLE(number)
    return row


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    late = [item for item in items if item.path.parent == Path(__file__).parent and item.name.startswith(LAST)]
    late.sort(key=lambda item: LAST.index(item.name[:7]))
    items[:] = [item for item in items if item not in late] + late


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    result = yield
    pyfuncitem.funcargs["row"].judge()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or not report.passed:
        row = getattr(item, "funcargs", {}).get("row") or row_of(item)
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if report.failed:
            why = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr))
        if report.passed and row.deliberately:
            row.write("otherwise", row.deliberately)
        else:
            row.write(report.outcome, why.removeprefix("Skipped: "))
    return report


@pytest.fixture
def row(request: pytest.FixtureRequest) -> EdgeRow:
    return row_of(request.node)


@pytest.fixture(scope="session")
def edge() -> Iterator[Stack]:
    """The stack that all of it is sent to; its log tells the headers that the app saw."""
    settings = {"max_upload_mb": str(MAX_UPLOAD_MB), "decode_timeout_s": str(DECODE_TIMEOUT_S), "log_level": "debug"}
    settings["allowed_hosts"] = "x,y.example:8443"  # "Host: x" is what most requests here say
    with running_stack(**settings) as stack:
        yield stack


@pytest.fixture(scope="session")
def before(edge: Stack) -> State:
    """What the stack had before anything bad was sent to it."""
    until(lambda: whole(edge), 30)
    return State.of(edge)


@pytest.fixture(scope="session")
def tap(edge: Stack, before: State) -> Iterator[Tap]:
    with tapped(paths.web_socket(edge.run_dir)) as tap:
        yield tap


@pytest.fixture(scope="session")
def stalled(edge: Stack, tap: Tap) -> Iterator[Stalled]:
    """Clients that begin a request and stop in the middle; all other rows are tried meanwhile."""
    with Stalled(edge.url) as stalled:
        yield stalled


@pytest.fixture(autouse=True)
def _all_at_once(stalled: Stalled) -> None:
    """The slow ones begin with the first row."""


@pytest.fixture
def answered(edge: Stack, tap: Tap, row: EdgeRow) -> Callable[..., Any]:
    """Sends a request and holds its answer against the row."""
    from tests.http_edge.response_checks import Judge

    return Judge(edge, tap, row)
