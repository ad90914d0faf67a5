"""A stack of its own, whose programs may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.support.large_films import write_large_film
from tests.support.movements import film_movement
from tests.support.stacks import running_stack

MB = 1_000_000


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(wait=False, models=("camera_motion",), web_workers="2") as stack:
        yield stack


@pytest.fixture(scope="module")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def large_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 60 MB with two seconds of a camera that pans left."""
    folder = tmp_path_factory.mktemp("films")
    film = film_movement(folder / "film.mp4", "pan_left", seconds=2).read_bytes()
    return write_large_film(folder / "large.mp4", film, 60 * MB)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test its own cache of unfinished uploads, which else belongs to the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
