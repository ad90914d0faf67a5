import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from tritonclient.grpc import InferenceServerClient, InferenceServerException

from tests.leaks import SHARED_MEMORY
from tests.movements import film_movement
from tests.stack.running import running_stack, until

PROGRAMS = ("nginx", "web", "jobs", "triton", "watchdog")
RECOVERY_S = 30


@pytest.fixture(scope="module")
def stack() -> Iterator:
    """A stack of this module's own: others must not see it stumble."""
    with running_stack() as stack:
        yield stack


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return film_movement(tmp_path_factory.mktemp("film") / "pan_left.mp4", "pan_left")


def ready(stack) -> bool:
    """Whether the stack says it can classify."""
    try:
        return httpx.get(f"{stack.url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def pid_of(stack, program: str) -> int:
    return int(stack.supervisorctl("pid", program))


def classify(stack, film) -> dict:
    response = httpx.post(f"{stack.url}/v1/classify", content=film.read_bytes(), timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


def registered(stack) -> set[str]:
    """Regions that Triton has mapped; none while it is away."""
    with InferenceServerClient(stack.settings.triton_address) as triton, suppress(InferenceServerException):
        return set(triton.get_system_shared_memory_status(as_json=True).get("regions", {}))
    return set()


def regions(stack) -> set[str]:
    """Regions of shared memory whose owner belongs to the stack, or to nobody any more."""
    owners = {path.name: int(path.name.split("-")[1]) for path in SHARED_MEMORY.glob("clipstack-*")}
    return {name for name, pid in owners.items() if pid in stack.processes() or not os.path.exists(f"/proc/{pid}")}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_is_restarted_recovers_by_itself(stack, program):
    before = pid_of(stack, program)

    said = stack.supervisorctl("restart", program)

    assert f"{program}: started" in said
    assert pid_of(stack, program) != before
    until(lambda: ready(stack), RECOVERY_S)


@pytest.mark.parametrize("program", PROGRAMS)
def test_after_a_restart_clips_go_through_shared_memory_as_before(stack, film, program):
    stack.supervisorctl("restart", program)
    until(lambda: ready(stack), RECOVERY_S)

    answers = [classify(stack, film) for _ in range(2 * stack.settings.web_workers)]

    assert [answer["transport"] for answer in answers] == ["system_shared_memory"] * len(answers)
    assert {answer["predictions"][0]["label"] for answer in answers} == {"pan_left"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_is_killed_recovers_by_itself(stack, program):
    before = pid_of(stack, program)

    os.kill(before, signal.SIGKILL)

    until(lambda: pid_of(stack, program) not in (0, before), RECOVERY_S)
    until(lambda: ready(stack), RECOVERY_S)


def test_workers_of_a_killed_nginx_do_not_keep_the_port(stack):
    before = {pid for pid, name in stack.processes().items() if name == "nginx"}

    os.kill(pid_of(stack, "nginx"), signal.SIGKILL)

    until(lambda: ready(stack) and not before & stack.processes().keys(), RECOVERY_S)
    assert "nginx" in stack.processes().values()


def test_an_nginx_that_has_not_written_its_number_yet_belongs_to_the_stack_too(stack):
    nginx = {pid for pid, name in stack.processes().items() if name == "nginx"}
    number = stack.run_dir / "nginx.pid"
    written = number.read_text()

    number.unlink()
    found = {pid for pid, name in stack.processes().items() if name == "nginx"}
    number.write_text(written)

    assert found == nginx and len(nginx) > 1


def owners_of_regions(stack) -> int:
    return stack.settings.web_workers + 1  # the job worker has one too


def test_triton_forgets_the_region_of_a_killed_worker(stack):
    until(lambda: len(registered(stack)) == owners_of_regions(stack), RECOVERY_S)
    victim = min(registered(stack))

    os.kill(int(victim.split("-")[1]), signal.SIGKILL)

    until(lambda: victim not in registered(stack), RECOVERY_S)
    until(lambda: len(registered(stack)) == owners_of_regions(stack), RECOVERY_S)
    assert registered(stack) == regions(stack)


def test_the_region_of_a_killed_worker_is_removed(stack):
    until(lambda: len(regions(stack)) == owners_of_regions(stack), RECOVERY_S)
    before = regions(stack)
    left = min(before)

    os.kill(int(left.split("-")[1]), signal.SIGKILL)

    until(lambda: not (SHARED_MEMORY / left).exists(), RECOVERY_S)
    until(lambda: len(regions(stack)) == owners_of_regions(stack), RECOVERY_S)
    assert len(regions(stack) & before) == len(before) - 1


def test_up_after_the_supervisor_was_killed_leaves_one_stack(stack):
    orphans = set(stack.processes())
    supervisor = int((stack.run_dir / "supervisord.pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: supervisor not in stack.processes(), 5)

    stack.up()

    assert ready(stack)
    assert not orphans & stack.processes().keys()


def test_a_request_under_way_survives_a_restart_of_nginx_and_web(stack, tmp_path):
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
