"""A unit test starts no process: those that do belong to tests/integration."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy.testing  # noqa: F401 (runs lscpu when it is first imported)
import pytest

_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
_started: list[str] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in _STARTS:
        _started.append(f"{event}{arguments[:2]}")


sys.addaudithook(_note)


@pytest.fixture(autouse=True)
def no_process() -> Iterator[None]:
    _started.clear()
    yield
    assert _started == [], "this test belongs to tests/integration"
