import os
import signal
import time

import httpx
import pytest

from tests.support.leaks import SHARED_MEMORY
from tests.support.movements import film_movement
from tests.support.stack_state import NGINX_WORKERS, owners_of_regions, pid_of, ready, regions, registered
from tests.support.stacks import until

PROGRAMS = ("nginx", "web", "jobs", "triton", "watchdog")
RECOVERY_S = 30


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return film_movement(tmp_path_factory.mktemp("film") / "pan_left.mp4", "pan_left")


def ask(stack, film) -> httpx.Response:
    return httpx.post(f"{stack.url}/v1/classify", content=film.read_bytes(), timeout=60)


def nginx_processes(stack) -> set[int]:
    """Return nginx's master and workers; the master answers before all of its workers have started."""
    return {pid for pid, name in stack.processes().items() if name == "nginx"}


def settled_nginx(stack) -> set[int]:
    """Return the processes of nginx once it is neither starting nor stopping."""
    until(lambda: len(nginx_processes(stack)) == 1 + NGINX_WORKERS, RECOVERY_S)
    return nginx_processes(stack)


def running_pid(stack, program) -> int:
    """Return the pid of a program that may just be starting; never 0, which `kill` takes for the process group."""
    until(lambda: pid_of(stack, program), RECOVERY_S)
    pid = pid_of(stack, program)
    assert pid
    return pid


def classifies_through_shared_memory(stack, film) -> bool:
    responses = [ask(stack, film) for _ in range(2 * stack.settings.web_workers)]
    if {response.status_code for response in responses} != {200}:
        return False
    answers = [response.json() for response in responses]
    labels = {answer["predictions"][0]["label"] for answer in answers}
    return labels == {"pan_left"} and {answer["transport"] for answer in answers} == {"system_shared_memory"}


def classifies(stack, film) -> bool:
    """Return whether a request succeeds; a worker of a killed nginx may accept it and then end."""
    try:
        return classifies_through_shared_memory(stack, film)
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("program", PROGRAMS)
def test_restarted_program_recovers(stack, film, program):
    before = pid_of(stack, program)

    output = stack.supervisorctl("restart", program)

    assert f"{program}: started" in output
    assert pid_of(stack, program) != before
    until(lambda: ready(stack), RECOVERY_S)
    assert classifies_through_shared_memory(stack, film)


@pytest.mark.parametrize("program", PROGRAMS)
def test_killed_program_recovers(stack, film, program):
    before = running_pid(stack, program)

    os.kill(before, signal.SIGKILL)

    until(lambda: pid_of(stack, program) not in (0, before), RECOVERY_S)
    until(lambda: ready(stack), RECOVERY_S)
    until(lambda: classifies(stack, film), RECOVERY_S)


def test_workers_of_killed_nginx_do_not_keep_port(stack):
    before = settled_nginx(stack)

    os.kill(running_pid(stack, "nginx"), signal.SIGKILL)

    # In this order: until they are gone, workers without a master answer as well
    until(lambda: not before & stack.processes().keys(), RECOVERY_S)
    until(lambda: ready(stack), RECOVERY_S)
    assert nginx_processes(stack)


def test_nginx_without_pid_file_belongs_to_the_stack(stack):
    nginx = settled_nginx(stack)
    number = stack.run_dir / "nginx.pid"
    written = number.read_text()

    number.unlink()
    before = nginx_processes(stack)
    number.write_text(written)

    assert before == nginx and len(nginx) > 1


def test_region_of_killed_worker_is_removed_and_forgotten(stack):
    until(lambda: len(registered(stack)) == owners_of_regions(stack), RECOVERY_S)
    before = registered(stack)
    victim = min(before)

    os.kill(int(victim.split("-")[1]), signal.SIGKILL)

    until(lambda: not (SHARED_MEMORY / victim).exists(), RECOVERY_S)
    until(lambda: victim not in registered(stack), RECOVERY_S)
    until(lambda: len(registered(stack)) == owners_of_regions(stack), RECOVERY_S)
    until(lambda: registered(stack) == regions(stack), RECOVERY_S)
    assert len(registered(stack) & before) == len(before) - 1


def test_up_after_supervisor_was_killed_leaves_one_stack(stack):
    orphans = set(stack.processes())
    supervisor = int((stack.run_dir / "supervisord.pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: supervisor not in stack.processes(), 5)

    stack.up()

    assert ready(stack)
    assert not orphans & stack.processes().keys()


def test_running_request_survives_restart_of_nginx_and_web(stack, tmp_path):
    clip = tmp_path / "clip.bin"
    clip.write_bytes(b"not a video, but slow to arrive" * 1000)

    def slowly():
        yield clip.read_bytes()[:1000]
        stack.supervisorctl("signal", "QUIT", "nginx")  # what a restart sends first
        time.sleep(0.5)
        yield clip.read_bytes()[1000:]

    answer = httpx.post(f"{stack.url}/v1/classify", content=slowly(), timeout=30)

    assert answer.status_code == 415 and answer.json()["error"]["code"] == "unsupported_media"
    until(lambda: ready(stack), RECOVERY_S)
