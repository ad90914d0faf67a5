"""`docker compose up` on a real engine: the images, the answers, what each container may do, what it survives."""

from __future__ import annotations

import http.client
import json
import math
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.settings import CPUS_OF_WORKER, available_cpus
from deploy.stack.stack import Stack
from tests.docker.conftest import Compose, command
from tests.support.movements import film_movement
from tests.support.stacks import until

RECOVERY_S = 90.0
pytestmark = pytest.mark.timeout(1800)  # the first test builds the images

PARTS = ("web", "triton", "memory")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film_movement(tmp_path_factory.mktemp("film") / "film.mp4", "pan_left").read_bytes()


def layers(image: str) -> int:
    """Bytes that an image adds to the base image."""
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
def test_images_hold_no_tools_to_build_with(images: float, image: str) -> None:
    script = (
        "! command -v gcc && ! .venv/bin/python -c 'import pip' && test ! -e /root/.cache && test -s .venv/sbom.json"
    )
    command("docker", "run", "--rm", "--network", "none", image, "sh", "-c", script)


def test_answer_is_that_of_stack_without_containers(service: Compose, stack: Stack, film: bytes) -> None:
    answer = service.classify(film).json()
    alone = httpx.post(f"{stack.url}/v1/classify", content=film, timeout=60).json()
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
def test_each_container_may_do_little(service: Compose, part: str) -> None:
    told = service.inspect(part)["HostConfig"]
    assert told["ReadonlyRootfs"] and told["CapDrop"] == ["ALL"] and not told["Privileged"]
    assert told["Memory"] > 0 and told["PidsLimit"] > 0 and told["LogConfig"]["Config"]["max-size"] == "10m"
    script = "id -u; grep -h -E 'CapEff|NoNewPrivs' /proc/self/status; touch /opt/clipstack/x 2>&1 || true"
    user, *status, refused = service("exec", "-T", part, "sh", "-c", script).splitlines()
    assert user == "10001"
    assert sorted(line.split()[1] for line in status) == ["0000000000000000", "1"]
    assert "Read-only file system" in refused


def test_decoders_lack_only_layers_that_docker_forbids(service: Compose) -> None:
    lines = service("exec", "-T", "web", "python", "-m", "app.sandbox").splitlines()
    found = {name: word for name, word, *_ in (line.split() for line in lines)}
    assert found.keys() == {"limits", "files", "user", "processes", "network", "calls"}
    assert {name for name, word in found.items() if word != "holds"} <= {"processes", "network"}


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


def test_health_is_asked_of_the_real_thing(service: Compose) -> None:
    for part, said in (("web", '"ready"'), ("triton", "camera_motion answers")):
        until(lambda part=part: service.inspect(part)["State"]["Health"]["Status"] == "healthy", RECOVERY_S)
        assert said in service.inspect(part)["State"]["Health"]["Log"][-1]["Output"]


def _programs(service: Compose, part: str) -> dict[str, str]:
    """What `supervisorctl status` says of each program."""
    lines = service("exec", "-T", part, "supervisorctl", "status", check=False).splitlines()
    return {name: state for name, state, *_ in (line.split() for line in lines)}


def test_supervisorctl_works_in_each_container(service: Compose, film: bytes) -> None:
    for part, programs in (("web", ("nginx", "web", "jobs", "watchdog")), ("triton", ("triton", "watchdog"))):
        until(lambda part=part, programs=programs: _programs(service, part) == dict.fromkeys(programs, "RUNNING"), 20)
        for name in programs:
            assert f"{name}: started" in service("exec", "-T", part, "supervisorctl", "restart", name)
    service.wait_until_ready(RECOVERY_S)
    assert service.classify(film).status_code == 200


def test_killed_model_process_in_container_answers_again(service: Compose, film: bytes) -> None:
    script = """if 1:
        import os, signal, sys
        from deploy.watchdog import backend_processes
        for stub in backend_processes.of_server(int(sys.argv[1])):
            if stub.model == "camera_motion@1":
                os.kill(stub.pid, signal.SIGKILL)
    """
    triton = service("exec", "-T", "triton", "supervisorctl", "pid", "triton").strip()
    service("exec", "-T", "triton", "python", "-c", script, triton)
    until(lambda: service("exec", "-T", "triton", "supervisorctl", "pid", "triton").strip() not in ("0", triton), 30)
    service.wait_until_ready(RECOVERY_S)
    assert service.classify(film).json()["predictions"][0]["label"] == "pan_left"


def test_programs_log_where_docker_keeps_it(service: Compose, film: bytes) -> None:
    request_id = service.classify(film).headers["X-Request-Id"]
    until(lambda: request_id in service("logs", "--tail", "50", "web"), 20)


def by_reference(service: Compose, film: bytes) -> bool:
    answer = service.classify(film)
    return answer.status_code == 200 and answer.json()["transport"] == "system_shared_memory"


def test_every_request_is_answered_while_triton_is_restarted(service: Compose, film: bytes) -> None:
    restart = threading.Thread(target=service, args=("restart", "triton"))
    begun = threading.Event()

    def ask(number: int) -> httpx.Response:
        if number == 40:
            restart.start()
            begun.set()
        return service.classify(film)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(200)))
    assert begun.is_set()
    restart.join()
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all(answer.headers.get("Retry-After") for answer in answers if answer.status_code == 503)
    until(lambda: by_reference(service, film), RECOVERY_S)
    print(f"while Triton was restarted: {dict(Counter(answer.status_code for answer in answers))}")


@pytest.mark.parametrize("part", ["triton", "web"])
def test_a_container_that_dies_comes_back_by_itself(service: Compose, film: bytes, part: str) -> None:
    before = service.inspect(part)
    # Supervisor itself, and with it, by way of Docker's init, the container
    service("exec", "-T", part, "sh", "-c", 'kill -9 "$(cat $CLIPSTACK_RUN_DIR/supervisord.pid)"', check=False)
    until(lambda: service.inspect(part)["RestartCount"] > before["RestartCount"], RECOVERY_S)
    until(lambda: _answered(service, film), RECOVERY_S)


def _answered(service: Compose, film: bytes) -> bool:
    try:
        return by_reference(service, film)
    except httpx.HTTPError:
        return False


def test_a_stop_waits_for_an_upload_under_way(service: Compose, film: bytes) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    head = (
        f"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(film)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # nginx has begun with it
        stop = threading.Thread(target=service, args=("stop", "web"))
        stop.start()
        # Supervisor says so, or that it is shutting down and says nothing more
        until(
            lambda: "RUNNING" not in service("exec", "-T", "web", "supervisorctl", "status", "nginx", check=False), 20
        )
        connection.sendall(film)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200
        assert json.loads(answer.read())["predictions"][0]["label"] == "pan_left"
    stop.join()
    service("start", "web")
    service.wait_until_ready(RECOVERY_S)


def test_no_shared_memory_or_uploads_remain(service: Compose, film: bytes) -> None:
    service.classify(film)
    until(lambda: service("exec", "-T", "web", "ls", "/run/clipstack/uploads") == "", 20)
    regions = service("exec", "-T", "memory", "sh", "-c", "ls /dev/shm | grep ^clipstack-").split()
    workers = math.ceil(available_cpus() / CPUS_OF_WORKER)
    assert len(regions) == workers + 1  # one a worker of web, one of jobs: those of killed workers are gone
