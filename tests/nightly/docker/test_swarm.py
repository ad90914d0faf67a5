"""`docker stack deploy` on a swarm of one node: answers, a task that dies, updates under load, removal."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.stack.ports import free_ports
from tests.support.docker_compose import command
from tests.support.stacks import until

UP_S, UPDATE_S, RECOVERY_S, GONE_S = 240, 300, 120.0, 120.0
CLIENTS = 3
pytestmark = pytest.mark.timeout(1800)  # the first test builds the images


class StackOfSwarm:
    """A deployed stack with a name and a port of its own."""

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self.name, self.url = f"clipstack-test-{secrets.token_hex(4)}", f"http://127.0.0.1:{port}"
        self._environment = {
            "CLIPSTACK_NODE": socket.gethostname(),
            "CLIPSTACK_PORT": str(port),
            "CLIPSTACK_KEYS": "off",
        }

    def deploy(self) -> None:
        words = (
            "docker",
            "stack",
            "deploy",
            "--resolve-image",
            "never",
            "--compose-file",
            "deploy/swarm.yml",
            self.name,
        )
        command(*words, **self._environment)

    def containers(self, service: str) -> list[str]:
        """Return the running containers of a service."""
        label = f"label=com.docker.swarm.service.name={self.name}_{service}"
        return command("docker", "ps", "-q", "--filter", label).split()

    def update(self, service: str) -> None:
        """Replace all tasks of a service by new ones, and wait for the end."""
        words = ("docker", "service", "update", "--force", "--quiet", f"{self.name}_{service}")
        command(*words, timeout=UPDATE_S)

    def status(self, film: bytes) -> int:
        """Classify, and return the status; 0 for a connection that failed."""
        try:
            return httpx.post(f"{self.url}/v1/classify", content=film, timeout=60).status_code
        except httpx.HTTPError:
            return 0

    def remove(self) -> dict[str, str]:
        """Remove the stack with its volumes, and return what is left of it."""
        command("docker", "stack", "rm", self.name)
        of_stack = ("--filter", f"label=com.docker.stack.namespace={self.name}")
        until(lambda: not command("docker", "ps", "-aq", *of_stack), GONE_S)
        until(lambda: not command("docker", "network", "ls", "-q", *of_stack), GONE_S)
        if volumes := command("docker", "volume", "ls", "-q", *of_stack).split():
            command("docker", "volume", "rm", *volumes)
        return {kind: command("docker", kind, "ls", "-q", *of_stack) for kind in ("service", "network", "volume")}


@pytest.fixture(scope="module")
def swarm(images: float) -> Iterator[None]:
    """A swarm of this engine alone, with the secret of the stack; left afterwards."""
    if command("docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() != "inactive":
        pytest.skip("this engine is in a swarm already")
    command("docker", "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
    try:
        key = Path(os.environ["TMPDIR"], "triton-key")
        key.write_text(secrets.token_hex(32))
        command("docker", "secret", "create", "clipstack_triton_key", key)
        key.unlink()
        yield
    finally:
        command("docker", "swarm", "leave", "--force")
        command("docker", "network", "rm", "docker_gwbridge", check=False)  # Swarm makes it and leaves it


@pytest.fixture(scope="module")
def stack_of_swarm(swarm: None, pan_left: bytes) -> Iterator[StackOfSwarm]:
    stack = StackOfSwarm()
    try:
        stack.deploy()
        until(lambda: stack.status(pan_left) == 200 and len(stack.containers("web")) == 2, UP_S)
        yield stack
    finally:
        left = stack.remove()
    assert not any(left.values()), left


@contextmanager
def load(stack: StackOfSwarm, film: bytes) -> Iterator[Counter[int]]:
    """Classify all the time, and yield the count of each status."""
    counts, ends = Counter[int](), threading.Event()

    def ask() -> None:
        while not ends.is_set():
            counts[stack.status(film)] += 1

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: counts[200] > 2 * CLIENTS, 30)
        yield counts
        answered = counts[200]
        until(lambda: counts[200] > answered + 2 * CLIENTS, 30)
    finally:
        ends.set()
        for thread in threads:
            thread.join(90)


def test_film_goes_through_the_stack(stack_of_swarm: StackOfSwarm, pan_left: bytes) -> None:
    body = httpx.post(f"{stack_of_swarm.url}/v1/classify", content=pan_left, timeout=60).json()
    assert (body["predictions"][0]["label"], body["transport"]) == ("pan_left", "inline")
    for replica in stack_of_swarm.containers("web"):
        until(
            lambda replica=replica: (
                stack_of_swarm.status(pan_left) == 200 and '"path":"/v1/classify"' in command("docker", "logs", replica)
            ),
            30,
        )


def test_tasks_may_do_little(stack_of_swarm: StackOfSwarm) -> None:
    script = "id -u; grep -h CapEff /proc/self/status; touch /opt/clipstack/x 2>&1 || true"
    for service in ("edge", "web", "triton"):
        (container, *_) = stack_of_swarm.containers(service)
        user, capabilities, refused = command("docker", "exec", container, "sh", "-c", script).splitlines()
        assert (user, capabilities.split()[1]) == ("10001", "0" * 16)
        assert "Read-only file system" in refused


def test_killed_task_returns(stack_of_swarm: StackOfSwarm, pan_left: bytes) -> None:
    before = stack_of_swarm.containers("web")
    with load(stack_of_swarm, pan_left) as counts:
        command("docker", "kill", before[0])
        killed = time.monotonic()
        until(lambda: len(set(stack_of_swarm.containers("web")) - set(before)) == 1, RECOVERY_S)
        print(f"a new task runs {time.monotonic() - killed:.0f} s after the old one was killed: {dict(counts)}")
    assert set(counts) <= {200, 503} and counts[503] <= 2 * CLIENTS  # those that the killed task had


def test_update_of_web_loses_no_request(stack_of_swarm: StackOfSwarm, pan_left: bytes) -> None:
    before = stack_of_swarm.containers("web")
    with load(stack_of_swarm, pan_left) as counts:
        stack_of_swarm.update("web")
        assert not set(before) & set(stack_of_swarm.containers("web"))
    print(f"web was updated: {dict(counts)}")
    assert set(counts) == {200}


def test_update_of_triton_loses_no_request(stack_of_swarm: StackOfSwarm, pan_left: bytes) -> None:
    before = stack_of_swarm.containers("triton")
    with load(stack_of_swarm, pan_left) as counts:
        stack_of_swarm.update("triton")
        assert not set(before) & set(stack_of_swarm.containers("triton"))
    print(f"Triton was updated: {dict(counts)}")
    assert set(counts) <= {200, 503}


def test_update_of_edge_refuses_connections_for_two_seconds(stack_of_swarm: StackOfSwarm, pan_left: bytes) -> None:
    update = threading.Thread(target=stack_of_swarm.update, args=("edge",))
    update.start()
    until(lambda: stack_of_swarm.status(pan_left) == 0, 60)
    away = time.monotonic()
    until(lambda: stack_of_swarm.status(pan_left) == 200, 60)
    print(f"edge was away for {time.monotonic() - away:.1f} s")
    update.join()
