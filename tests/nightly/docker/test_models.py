"""Models of the checkout in the containers: the images hold the built-in ones, any other is imported."""

from __future__ import annotations

import subprocess

import httpx
import pytest

from tests.support.docker_compose import CHECKOUT, UP_S, Compose, command
from tests.support.photographs import photograph_file
from tests.support.stacks import until
from triton_repo.zoo.names import BUILT_IN

RECOVERY_S = 90.0
VOLUME = "/var/lib/clipstack/models"
pytestmark = pytest.mark.timeout(1800)  # the first test builds the images


def import_model(service: Compose, name: str) -> None:
    """Import a model of the checkout as docs/docker.md says."""
    with subprocess.Popen(
        ["tar", "-C", CHECKOUT / "triton_repo" / "models", "-c", name], stdout=subprocess.PIPE
    ) as tar:
        service("exec", "-T", "triton", "tar", "-x", "-C", VOLUME, stdin=tar.stdout)
    assert tar.returncode == 0
    service("restart", "triton")


def renew(service: Compose, **settings: str) -> None:
    """Replace the containers by new ones with these settings."""
    service.set(**settings)
    service("up", "-d", "--no-build", "--force-recreate", "web", "triton", timeout=UP_S)
    service.wait_until_ready()


@pytest.fixture(scope="module")
def coffee() -> bytes:
    return photograph_file("coffee")


def best(service: Compose, picture: bytes, **params: str) -> tuple[str, str]:
    """Return model and best label of the answer; empty while there is none."""
    try:
        answer = service.classify(picture, **params)
    except httpx.HTTPError:
        return ("", "")
    body = answer.json()
    return (body["model"], body["predictions"][0]["label"]) if answer.status_code == 200 else ("", "")


def test_images_hold_the_built_in_models_only(images: float, added_model: str) -> None:
    assert (CHECKOUT / "triton_repo" / "models" / added_model / "1" / "model.xml").is_file()
    folder = "/opt/clipstack/triton_repo/models"
    assert command("docker", "run", "--rm", "clipstack-triton", "ls", folder).split() == list(BUILT_IN)


def test_a_model_of_the_checkout_is_imported(service: Compose, added_model: str, coffee: bytes) -> None:
    assert service.classify(coffee, model=added_model).json()["error"]["code"] == "model_not_found"
    import_model(service, added_model)
    until(lambda: best(service, coffee, model=added_model) == (added_model, "espresso"), RECOVERY_S)
    assert best(service, coffee) == ("objects", "espresso")
    owners = service("exec", "-T", "triton", "stat", "-c", "%u", VOLUME, f"{VOLUME}/{added_model}").split()
    assert owners == ["10001", "10001"]


def test_imported_model_survives_new_containers(service: Compose, added_model: str, coffee: bytes) -> None:
    import_model(service, added_model)
    renew(service, CLIPSTACK_PICTURE_MODEL=added_model)
    assert best(service, coffee) == (added_model, "espresso")
    service("exec", "-T", "triton", "rm", "-r", f"{VOLUME}/{added_model}")
    renew(service, CLIPSTACK_PICTURE_MODEL="objects")
    assert best(service, coffee) == ("objects", "espresso")
