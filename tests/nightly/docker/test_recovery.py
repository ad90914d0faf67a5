"""Recovery in containers: restarts, kills and stops of parts, under load."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.docker_compose import Compose
from tests.support.stacks import until

RECOVERY_S = 90.0
pytestmark = pytest.mark.timeout(1800)  # the first test builds the images


def _programs(service: Compose, part: str) -> dict[str, str]:
    """Return the state of each program by `supervisorctl status`."""
    lines = service("exec", "-T", part, "supervisorctl", "status", check=False).splitlines()
    return {name: state for name, state, *_ in (line.split() for line in lines)}


def test_supervisorctl_works_in_each_container(service: Compose, pan_left: bytes) -> None:
    for part, programs in (("web", ("nginx", "web", "jobs", "watchdog")), ("triton", ("triton", "watchdog"))):
        until(lambda part=part, programs=programs: _programs(service, part) == dict.fromkeys(programs, "RUNNING"), 20)
        for name in programs:
            assert f"{name}: started" in service("exec", "-T", part, "supervisorctl", "restart", name)
    service.wait_until_ready(RECOVERY_S)
    assert service.classify(pan_left).status_code == 200


def test_killed_model_process_in_container_answers_again(service: Compose, pan_left: bytes) -> None:
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
    assert service.classify(pan_left).json()["predictions"][0]["label"] == "pan_left"


def by_reference(service: Compose, pan_left: bytes) -> bool:
    answer = service.classify(pan_left)
    return answer.status_code == 200 and answer.json()["transport"] == "system_shared_memory"


def test_every_request_is_answered_while_triton_is_restarted(service: Compose, pan_left: bytes) -> None:
    restart = threading.Thread(target=service, args=("restart", "triton"))
    begun = threading.Event()

    def ask(number: int) -> httpx.Response:
        if number == 40:
            restart.start()
            begun.set()
        return service.classify(pan_left)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(200)))
    assert begun.is_set()
    restart.join()
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all(answer.headers.get("Retry-After") for answer in answers if answer.status_code == 503)
    until(lambda: by_reference(service, pan_left), RECOVERY_S)
    print(f"while Triton was restarted: {dict(Counter(answer.status_code for answer in answers))}")


@pytest.mark.parametrize("part", ["triton", "web"])
def test_dead_container_is_restarted(service: Compose, pan_left: bytes, part: str) -> None:
    before = service.inspect(part)
    # Supervisor itself, and with it, by way of Docker's init, the container
    service("exec", "-T", part, "sh", "-c", 'kill -9 "$(cat $CLIPSTACK_RUN_DIR/supervisord.pid)"', check=False)
    until(lambda: service.inspect(part)["RestartCount"] > before["RestartCount"], RECOVERY_S)
    until(lambda: _answered(service, pan_left), RECOVERY_S)


def _answered(service: Compose, pan_left: bytes) -> bool:
    try:
        return by_reference(service, pan_left)
    except httpx.HTTPError:
        return False


def test_a_stop_waits_for_an_upload_under_way(service: Compose, pan_left: bytes) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(pan_left)}\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # nginx has accepted the upload
        stop = threading.Thread(target=service, args=("stop", "web"))
        stop.start()
        # Supervisor logs the stop, or only its own shutdown
        until(
            lambda: "RUNNING" not in service("exec", "-T", "web", "supervisorctl", "status", "nginx", check=False), 20
        )
        connection.sendall(pan_left)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200
        assert json.loads(answer.read())["predictions"][0]["label"] == "pan_left"
    stop.join()
    service("start", "web")
    service.wait_until_ready(RECOVERY_S)
