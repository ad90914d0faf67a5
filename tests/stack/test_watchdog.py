"""What the watchdog heals: models whose process is dead or hangs, programs that Supervisor has given up."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy import processes
from deploy.stack import Stack
from deploy.supervision import Supervision
from deploy.watchdog.__main__ import Watchdog
from deploy.watchdog.canaries import Canaries
from tests.movements import film_movement
from tests.stack.running import running_stack, until

DEAD_S, HUNG_S = 15.0, 20.0
STUB = "triton_python_b"  # as the kernel cuts its name


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    with running_stack(web_workers="1", infer_timeout_s="5") as stack:
        yield stack


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film_movement(tmp_path_factory.mktemp("films") / "film.mp4", "pan_left").read_bytes()


def stub_of(stack: Stack, model: str) -> int:
    (pid,) = [
        pid
        for pid, name in stack.processes().items()
        if name == STUB and f"/{model}/" in Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
    ]
    return pid


def answers(stack: Stack, film: bytes) -> bool:
    try:
        answer = httpx.post(f"{stack.url}/v1/classify", content=film, timeout=10)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and answer.json()["predictions"][0]["label"] == "pan_left"


@pytest.mark.parametrize(
    ("hurt", "limit_s"), [(signal.SIGKILL, DEAD_S), (signal.SIGSTOP, HUNG_S)], ids=["dead", "hung"]
)
def test_a_model_whose_process_is_gone_or_hangs_answers_again(
    own: Stack, film: bytes, hurt: signal.Signals, limit_s: float
) -> None:
    until(lambda: answers(own, film), 30)
    triton = int(own.supervisorctl("pid", "triton"))
    stub = stub_of(own, "camera_motion")
    time.sleep(4)  # one canary at least, and so a known good
    os.kill(stub, hurt)
    began = time.monotonic()
    until(lambda: int(own.supervisorctl("pid", "triton")) not in (0, triton), limit_s)
    until(lambda: answers(own, film), 30)
    print(f"healed {time.monotonic() - began:.1f} s after its process was hurt")
    assert processes.gone([stub], 5)
    own.wait(30)


def test_a_healthy_stack_is_left_alone(own: Stack, film: bytes) -> None:
    own.wait(30)
    before = {name: int(own.supervisorctl("pid", name)) for name in ("nginx", "web", "jobs", "triton")}
    ends = time.monotonic() + 12  # four looks
    while time.monotonic() < ends:
        assert answers(own, film)
    assert {name: int(own.supervisorctl("pid", name)) for name in before} == before


CONFIG = """
[supervisord]
nodaemon=false
logfile={folder}/log
pidfile={folder}/pid
[unix_http_server]
file={folder}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:weak]
command=/bin/sh -c "test -e {folder}/cured && exec sleep 600"
startsecs=1
startretries=0
autorestart=true
"""


def test_a_program_that_was_given_up_is_started_again(tmp_path: Path) -> None:
    config = tmp_path / "supervisord.conf"
    config.write_text(CONFIG.format(folder=tmp_path))
    supervision = Supervision(Path(sys.executable), config, tmp_path)
    supervision.launch(os.environ)
    try:
        until(lambda: supervision.programs().get("weak", ("", 0))[0] == "FATAL", 10)
        (tmp_path / "cured").touch()
        canaries = Canaries("127.0.0.1:1")  # no Triton is among these programs
        Watchdog(supervision, canaries).look()
        canaries.close()
        until(lambda: supervision.programs()["weak"].state == "RUNNING", 10)
    finally:
        supervision.shutdown()
        until(lambda: not supervision.answers() and not supervision.programs(), 10)
