"""Triton in a container of its own, on TCP with TLS, started by the commands of docs/remote-triton.md."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.certificates import made
from tests.support.docker_compose import CHECKOUT, UP_S, Compose, command, leftovers
from tests.support.stacks import until

pytestmark = pytest.mark.timeout(1800)
USER = 10001  # of the images
NAME = "triton.example.com"


def words_of_the_page(start: str, end: str) -> list[str]:
    """Return the words of a command of the page, from `start` to `end`."""
    page = (CHECKOUT / "docs" / "remote-triton.md").read_text()
    (text,) = re.findall(rf"{re.escape(start)}.*?{re.escape(end)}", page, re.S)
    return shlex.split(text.replace("\\\n", " "))


def docker_run(name: str, network: str, files: Path) -> list[str]:
    """Return the page's command for Triton with TLS, with names of this test's own."""
    tls = words_of_the_page("-v /etc/clipstack/tls:/tls:ro", f"NAME={NAME}")
    *run, image = words_of_the_page("docker run -d --name triton --ipc=private", "clipstack-triton")
    assert run[-2:] == ["-p", "10.0.0.2:8001:8001"]
    own = {
        "triton": name,
        "triton-key:/run/clipstack/sockets": f"{name}-key:/run/clipstack/sockets",
        "models:/var/lib/clipstack/models": f"{name}-models:/var/lib/clipstack/models",
        "/etc/clipstack/tls:/tls:ro": f"{files}:/tls:ro",
    }
    return [own.get(word, word) for word in (*run[:-2], *tls)] + ["--network", network, image]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The CA, and Triton's certificate and key, as the containers' user may read them."""
    folder = tmp_path / "tls"
    authority = made(tmp_path / "authority", names="")
    own = made(tmp_path / "own", names=f"DNS:{NAME}", issuer=authority)
    folder.mkdir()
    for source, name in ((authority.cert, "ca.pem"), (own.cert, "triton.pem"), (own.key, "triton.key")):
        (folder / name).write_bytes(source.read_bytes())
        os.chown(folder / name, USER, USER)
    for path in (folder, *folder.parents):
        if path.is_relative_to(tmp_path.parent.parent):
            path.chmod(path.stat().st_mode | 0o055)
    return folder


@pytest.fixture
def remote(images: float, files: Path, tmp_path: Path) -> Iterator[Compose]:
    """Two web containers, and a Triton that is none of their project's."""
    settings = {
        "CLIPSTACK_LOCAL_TRITON": "0",
        "CLIPSTACK_TRITON_KEY_FILE": str(files / "key"),
        "CLIPSTACK_TRITON_TLS_CA": str(files / "ca.pem"),
        "CLIPSTACK_TRITON_TLS_NAME": NAME,
    }
    network = tmp_path / "network.yml"
    compose = Compose("deploy/compose.scale.yml", str(network), **settings)
    triton = f"{compose.project}-triton"
    network.write_text(f"networks: {{ outside: {{ name: {triton}, external: true }} }}\n")
    compose.set(CLIPSTACK_TRITON_ADDRESS=f"{triton}:8001")
    with ExitStack() as held:
        command("docker", "network", "create", triton)
        held.callback(command, "docker", "network", "rm", triton)
        command(*docker_run(triton, triton, files))
        held.callback(command, "docker", "volume", "rm", f"{triton}-key", f"{triton}-models")
        held.callback(command, "docker", "rm", "--force", triton)
        until(
            lambda: command("docker", "inspect", "--format", "{{.State.Health.Status}}", triton).strip() == "healthy",
            UP_S,
        )
        (files / "key").write_text(command("docker", "exec", triton, "cat", "/run/clipstack/sockets/key"))
        (files / "key").chmod(0o600)
        os.chown(files / "key", USER, USER)
        held.callback(compose, "down", "-v", "--remove-orphans", check=False)
        compose("up", "-d", "--no-build", timeout=UP_S)
        compose.wait_until_ready()
        yield compose
    assert not any(leftovers(compose.project).values())


def test_film_is_classified_by_the_other_container(remote: Compose, pan_left: bytes) -> None:
    body = remote.classify(pan_left).json()
    assert (body["predictions"][0]["label"], body["transport"]) == ("pan_left", "inline")
    assert not remote("ps", "-q", "triton").strip()
