"""Fixtures of the fault tests; the number of a test is that of its row: `test_07_...` measures row 7."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.stack.stack import Stack
from tests.nightly.faults.fault_run import FaultRuns
from tests.nightly.faults.load import ReferenceScores, capacity, known_scores
from tests.nightly.faults.rows import Row
from tests.support.films import panning, write_video
from tests.support.movements import film_movement
from tests.support.stacks import running_stack

LABELS = ("pan_left", "zoom_in", "tilt_up", "roll_cw")


def number_of(item: pytest.Item) -> int:
    return int(item.name.split("_")[1])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    result = config.getoption("--rows")
    mine = [item for item in items if item.path.parent == Path(__file__).parent]
    if result == "all":
        return
    wanted = {int(number) for number in result.split(",")}
    left = [item for item in mine if number_of(item) not in wanted]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    result = yield
    pyfuncitem.funcargs["row"].verify()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or not report.passed:
        row = getattr(item, "funcargs", {}).get("row") or Row(number_of(item))
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if report.failed:
            why = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr))
        row.write(report.outcome, why.removeprefix("Skipped: "))
    return report


@pytest.fixture(scope="session", autouse=True)
def clean_up_on_sigterm() -> None:
    """Handle SIGTERM like SIGINT: stop stacks and remove folders."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    return Row(number_of(request.node))


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Films by their movement, so that an answer to another request has another label."""
    folder = tmp_path_factory.mktemp("films")
    return {label: film_movement(folder / f"{label}.mp4", label).read_bytes() for label in LABELS}


@pytest.fixture(scope="session")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film for jobs of some seconds."""
    frames = panning(600, 160, 120, step=1, seed=9)
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", frames).read_bytes()


@pytest.fixture(scope="session")
def faulty_stack() -> Iterator[Stack]:
    """The stack in which most rows cause their faults, one after the other."""
    with running_stack(web_workers="2") as stack:
        yield stack


@pytest.fixture(scope="session")
def known(faulty_stack: Stack, films: dict[str, bytes]) -> ReferenceScores:
    return known_scores(faulty_stack.url, films)


@pytest.fixture(scope="session")
def rate(faulty_stack: Stack, films: dict[str, bytes], known: ReferenceScores) -> float:
    """Requests per second: half of the stack's capacity on this machine."""
    return capacity(faulty_stack.url, films) / 2


@pytest.fixture
def fault_runs(films: dict[str, bytes], long_film: bytes, known: ReferenceScores, rate: float, row: Row) -> FaultRuns:
    return FaultRuns(films, long_film, known, rate, row)
