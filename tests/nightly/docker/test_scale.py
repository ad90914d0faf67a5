"""Several web containers behind one nginx."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.docker_compose import UP_S, Compose, command, running_compose
from tests.support.movements import film_movement
from tests.support.stacks import until

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def scaled(images: float) -> Iterator[Compose]:
    with running_compose("deploy/compose.scale.yml", up=("--scale", "web=2"), CLIPSTACK_WEB_WORKERS="1") as compose:
        yield compose


def test_replicas_take_turns_and_share_memory_with_triton(scaled: Compose, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "pan_left").read_bytes()
    replicas = scaled("ps", "-q", "web").split()
    assert len(replicas) == 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: scaled.classify(film), range(40)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["transport"] for answer in answers} == {"system_shared_memory"}
    for replica in replicas:
        until(lambda replica=replica: '"path":"/v1/classify"' in command("docker", "logs", replica), 20)


def test_service_works_with_one_replica_removed(scaled: Compose, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "pan_left").read_bytes()
    scaled("up", "-d", "--no-build", "--no-recreate", "--scale", "web=1", timeout=UP_S)
    answers = [scaled.classify(film) for _ in range(10)]
    assert {answer.status_code for answer in answers} == {200}
