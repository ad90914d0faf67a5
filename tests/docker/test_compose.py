"""`docker compose up` on a real engine: images, answers, and the rights of each container."""

from __future__ import annotations

import json
import math
from pathlib import Path

import httpx
import pytest

from app.settings import CPUS_OF_WORKER, available_cpus
from deploy.stack.stack import Stack
from tests.support.docker_compose import Compose, command
from tests.support.stacks import until

RECOVERY_S = 90.0
pytestmark = pytest.mark.timeout(1800)  # the first test builds the images

PARTS = ("web", "triton", "memory")


def layers(image: str) -> int:
    """Return the bytes that an image adds to the base image."""
    sizes = {}
    for name in (image, "python:3.11-slim-bookworm"):
        (body,) = json.loads(command("docker", "image", "inspect", name))
        sizes[name] = body["Size"]
    return sizes[image] - sizes["python:3.11-slim-bookworm"]


BASE_BYTES = 130e6  # of the public base image, unpacked; a stand-in may be larger


@pytest.mark.parametrize(("image", "limit"), [("clipstack-web", 700e6), ("clipstack-triton", 900e6)])
def test_images_are_small(images: float, image: str, limit: float) -> None:
    size = BASE_BYTES + layers(image)
    print(f"{image}: {size / 1e6:.0f} MB on the public base image")
    assert size < limit


@pytest.mark.parametrize("image", ["clipstack-web", "clipstack-triton"])
def test_images_have_labels_and_their_version_as_tag(images: float, image: str) -> None:
    (body,) = json.loads(command("docker", "image", "inspect", image))
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in body["Config"]["Labels"].items()
        if name.startswith("org.opencontainers.image.")
    }
    assert labels.keys() == {"title", "description", "version", "revision", "licenses"}
    assert f"{image}:{labels['version']}" in body["RepoTags"]


@pytest.mark.parametrize("image", ["clipstack-web", "clipstack-triton"])
def test_images_hold_no_build_tools(images: float, image: str) -> None:
    script = (
        "! command -v gcc && ! .venv/bin/python -c 'import pip' && test ! -e /root/.cache && test -s .venv/sbom.json"
    )
    command("docker", "run", "--rm", "--network", "none", image, "sh", "-c", script)


def test_answer_equals_that_of_a_stack_without_containers(service: Compose, stack: Stack, pan_left: bytes) -> None:
    answer = service.classify(pan_left).json()
    alone = httpx.post(f"{stack.url}/v1/classify", content=pan_left, timeout=60).json()
    assert answer["predictions"][0]["label"] == alone["predictions"][0]["label"] == "pan_left"
    assert answer["predictions"][0]["score"] == pytest.approx(alone["predictions"][0]["score"], abs=1e-4)
    assert (answer["transport"], answer["clips"]) == ("system_shared_memory", alone["clips"])


def test_real_clips(service: Compose, real_videos: Path) -> None:
    for name in ("arm_wrestling.mp4", "flipping_a_pancake.mkv", "sintel.mp4", "video_90.mov"):
        answer = service.classify((real_videos / name).read_bytes())
        assert answer.status_code == 200, answer.text
        assert answer.json()["transport"] == "system_shared_memory"
    refused = service.classify((real_videos / "corrupted.mp4").read_bytes(), clips=3)  # damaged at 3.0 of 5 s
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "undecodable")


@pytest.mark.parametrize("part", PARTS)
def test_containers_have_few_rights(service: Compose, part: str) -> None:
    config = service.inspect(part)["HostConfig"]
    assert config["ReadonlyRootfs"] and config["CapDrop"] == ["ALL"] and not config["Privileged"]
    assert config["Memory"] > 0 and config["PidsLimit"] > 0 and config["LogConfig"]["Config"]["max-size"] == "10m"
    script = "id -u; grep -h -E 'CapEff|NoNewPrivs' /proc/self/status; touch /opt/clipstack/x 2>&1 || true"
    user, *status, refused = service("exec", "-T", part, "sh", "-c", script).splitlines()
    assert user == "10001"
    assert sorted(line.split()[1] for line in status) == ["0000000000000000", "1"]
    assert "Read-only file system" in refused


def test_decoders_lack_only_layers_that_docker_forbids(service: Compose) -> None:
    lines = service("exec", "-T", "web", "python", "-m", "app.sandbox").splitlines()
    layers = {name: word for name, word, *_ in (line.split() for line in lines)}
    assert layers.keys() == {"limits", "files", "user", "processes", "network", "calls"}
    assert {name for name, word in layers.items() if word != "holds"} <= {"processes", "network"}


def test_only_the_port_of_nginx_is_published(service: Compose) -> None:
    published = {part: service.inspect(part)["NetworkSettings"]["Ports"] or {} for part in PARTS}
    hosts = {
        part: [place for places in ports.values() if places for place in places] for part, ports in published.items()
    }
    assert hosts == {
        "web": [{"HostIp": "127.0.0.1", "HostPort": service.url.rpartition(":")[2]}],
        "triton": [],
        "memory": [],
    }
    assert service.inspect("triton")["HostConfig"]["NetworkMode"] == "none"


def test_health_checks_use_the_service(service: Compose) -> None:
    for part, said in (("web", '"ready"'), ("triton", "camera_motion answers")):
        until(lambda part=part: service.inspect(part)["State"]["Health"]["Status"] == "healthy", RECOVERY_S)
        assert said in service.inspect(part)["State"]["Health"]["Log"][-1]["Output"]


def test_logs_reach_docker(service: Compose, pan_left: bytes) -> None:
    request_id = service.classify(pan_left).headers["X-Request-Id"]
    until(lambda: request_id in service("logs", "--tail", "50", "web"), 20)


def test_no_shared_memory_or_uploads_remain(service: Compose, pan_left: bytes) -> None:
    service.classify(pan_left)
    until(lambda: service("exec", "-T", "web", "ls", "/run/clipstack/uploads") == "", 20)
    regions = service("exec", "-T", "memory", "sh", "-c", "ls /dev/shm | grep ^clipstack-").split()
    workers = math.ceil(available_cpus() / CPUS_OF_WORKER)
    assert len(regions) == workers + 1  # one a worker of web, one of jobs: those of killed workers are gone
