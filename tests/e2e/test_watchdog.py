"""What the watchdog heals, and what it leaves alone: a real stack whose models are hurt on purpose."""

from __future__ import annotations

import io
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from PIL import Image
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from deploy.stack import paths, processes
from deploy.stack.stack import Stack
from deploy.watchdog import backend_processes
from deploy.watchdog.prober import ModelProber
from deploy.watchdog.restarts import MANY
from deploy.watchdog.watchdog import STUCK_S
from tests.support import scripted_model
from tests.support.movements import film_movement
from tests.support.stack_state import model_process, pid_of, watchdog_numbers
from tests.support.stacks import running_stack, until

DEAD_S, HUNG_S = 15.0, 20.0  # from the fault to right answers


BUILT_IN = ("camera_motion", "frame_quality")
DEFAULT = "camera_motion@1"
MODELS = (DEFAULT, "frame_quality@1", "scripted@1")


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    with running_stack(models=BUILT_IN, add_models=scripted_model.add, web_workers="1") as stack:
        yield stack


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film_movement(tmp_path_factory.mktemp("films") / "film.mp4", "pan_left").read_bytes()


@pytest.fixture
def watched(own: Stack) -> Stack:
    """The stack, whose watchdog is new (it has no restart behind it to wait after) and has seen all models answer."""
    own.supervisorctl("stop", "watchdog")
    (own.run_dir / paths.WATCHDOG_METRICS).unlink(missing_ok=True)
    own.wait(30)
    own.supervisorctl("start", "watchdog")
    until(lambda: all(watchdog_numbers(own).get(f'clipstack_model_answers{{model="{model}"}}') for model in MODELS), 10)
    return own


def server(stack: Stack) -> int:
    return int(stack.supervisorctl("pid", "triton"))


def classify(stack: Stack, film: bytes) -> httpx.Response:
    return httpx.post(f"{stack.url}/v1/classify", content=film, timeout=30)


def is_right(answer: httpx.Response) -> bool:
    """By its label, and by way of memory that is shared with the Triton of now."""
    if answer.status_code != 200:
        return False
    body = answer.json()
    return (body["predictions"][0]["label"], body["transport"]) == ("pan_left", "system_shared_memory")


@contextmanager
def under_load(stack: Stack, film: bytes, clients: int) -> Iterator[Counter[int]]:
    """Clients that ask again and again meanwhile; counts the statuses of their answers, 0 for a wrong one."""
    counts, ends = Counter[int](), threading.Event()

    def client() -> None:
        while not ends.is_set():
            answer = classify(stack, film)
            counts[0 if answer.status_code == 200 and not is_right(answer) else answer.status_code] += 1
            if answer.status_code != 200:
                ends.wait(0.2)

    with ThreadPoolExecutor(clients) as pool:
        futures = [pool.submit(client) for _ in range(clients)]
        try:
            yield counts
        finally:
            ends.set()
    for item in futures:
        item.result()


@pytest.mark.parametrize(
    ("hurt", "cause", "limit_s"),
    [(signal.SIGKILL, "dead", DEAD_S), (signal.SIGSTOP, "hung", HUNG_S)],
    ids=["killed", "stopped"],
)
def test_a_model_whose_process_is_hurt_answers_again(
    watched: Stack, film: bytes, hurt: signal.Signals, cause: str, limit_s: float
) -> None:
    assert is_right(classify(watched, film))
    triton, stub = server(watched), model_process(watched, "camera_motion@1")

    os.kill(stub, hurt)
    began = time.monotonic()
    with under_load(watched, film, clients=2) as statuses:
        until(lambda: server(watched) not in (0, triton), limit_s)
        answered = statuses[200]
        until(lambda: statuses[200] > answered, limit_s - (time.monotonic() - began))
    print(f"healed {time.monotonic() - began:.1f} s after its process was hurt; answers meanwhile: {dict(statuses)}")

    assert set(statuses) <= {200, 503}
    assert processes.wait_until_gone([stub, triton], 5)
    assert watchdog_numbers(watched)[f'clipstack_model_restarts_total{{cause="{cause}"}}'] == 1


def test_model_hanging_at_start_of_triton_recovers(watched: Stack, film: bytes) -> None:
    first = server(watched)
    os.killpg(first, signal.SIGKILL)
    stopped: list[int] = []

    def stops() -> bool:  # in the first moments of the process, long before its model is loaded
        stubs = backend_processes.of_server(pid) if (pid := server(watched)) not in (0, first) else []
        stopped.extend(stub.pid for stub in stubs if stub.model == DEFAULT)
        for stub in stopped:
            os.kill(stub, signal.SIGSTOP)
        return bool(stopped)

    until(stops, 10)
    second = server(watched)
    until(lambda: server(watched) not in (0, first, second), STUCK_S + HUNG_S)
    watched.wait(30)
    assert is_right(classify(watched, film))
    assert watchdog_numbers(watched)['clipstack_model_restarts_total{cause="hung"}'] == 1
    assert "loads its models" in (watched.run_dir / "logs" / "watchdog.log").read_text()


def test_model_hanging_while_loaded_is_loaded_again(watched: Stack, film: bytes) -> None:
    triton, late = server(watched), watched.model_dir / "late"
    shutil.copytree(watched.model_dir / "camera_motion", late)
    config = late / "config.pbtxt"
    config.write_text(config.read_text().replace('"camera_motion"', '"late"'))

    def stop() -> bool:  # in the first moments of the process, long before its model is loaded
        pids = [process.pid for process in backend_processes.of_server(triton) if process.model == "late@1"]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return bool(pids)

    with InferenceServerClient(watched.settings.triton_target) as client, ThreadPoolExecutor(1) as pool:
        loading = pool.submit(client.load_model, "late", client_timeout=2 * STUCK_S)
        until(stop, 10)
        assert is_right(classify(watched, film))
        with pytest.raises(InferenceServerException):
            loading.result()
        try:
            until(lambda: watchdog_numbers(watched).get('clipstack_model_answers{model="late@1"}') == 1, 3 * HUNG_S)
            assert server(watched) == triton
        finally:
            shutil.rmtree(late)
            client.unload_model("late")
    assert "ending the load of late@1" in (watched.run_dir / "logs" / "watchdog.log").read_text()


def test_a_model_that_waits_for_ever_answers_again(watched: Stack) -> None:
    triton, address = server(watched), watched.settings.triton_target
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(scripted_model.infer, address, scripted_model.WAIT_FOR_EVER, 60.0)
        until(lambda: server(watched) not in (0, triton), HUNG_S)
        with pytest.raises(InferenceServerException):
            stuck.result(10)
    watched.wait(30)
    assert scripted_model.infer(address, scripted_model.ANSWER, 10.0) == scripted_model.ANSWER


def test_model_that_is_only_busy_is_left_alone(watched: Stack, film: bytes) -> None:
    triton, address = server(watched), watched.settings.triton_target
    silent = 'clipstack_canaries_total{model="scripted@1",outcome="silent"}'
    with under_load(watched, film, clients=2) as statuses:
        with scripted_model.calculating(watched.model_dir, address) as response:
            until(lambda: watchdog_numbers(watched).get(silent, 0) >= 3, scripted_model.MOST_S)
            assert not response.done(), "every canary waited for the busy model"
        assert response.result() == scripted_model.CALCULATE
        answered = statuses[200]
        until(lambda: statuses[200] > answered, HUNG_S)

    assert server(watched) == triton
    assert set(statuses) <= {200, 503}


def test_program_that_starts_repeatedly_is_flagged(watched: Stack) -> None:
    assert "warning" not in watched.status()[1]
    for times in range(1, MANY + 1):
        pid = pid_of(watched, "jobs")
        os.killpg(pid, signal.SIGKILL)
        until(
            lambda times=times: watchdog_numbers(watched).get('clipstack_program_restarts{program="jobs"}') == times, 15
        )
        until(lambda pid=pid: pid_of(watched, "jobs") not in (0, pid), 15)
    assert f"warning: jobs was restarted {MANY} times" in watched.status()[1]
    point = httpx.get(f"{watched.url}/status.json", timeout=10).json()["points"][-1]
    assert point["restarts"]["jobs"] == MANY and point["restarts"]["web"] == 0


@pytest.fixture
def canaries(own: Stack) -> Iterator[ModelProber]:
    """Of the stack, whose own watchdog sends none meanwhile."""
    own.supervisorctl("stop", "watchdog")
    canaries = ModelProber(own.settings.triton_target)
    yield canaries
    canaries.close()
    own.supervisorctl("start", "watchdog")


def counted(canaries: ModelProber, count: int) -> None:
    """Triton counts after it has answered."""
    until(lambda: canaries._read_counts()[DEFAULT].answered >= count, 5)
    assert canaries._read_counts()[DEFAULT].answered == count


def test_model_that_answers_others_is_sent_no_canary(own: Stack, canaries: ModelProber, film: bytes) -> None:
    began = canaries._read_counts()[DEFAULT].answered
    canaries.probe()
    counted(canaries, began + 1)  # a first canary
    assert classify(own, film).status_code == 200
    counted(canaries, began + 2)

    assert canaries.probe().canaries[DEFAULT] == ("answered", "", began + 2)
    canaries.probe()
    counted(canaries, began + 3)  # nobody has asked since


def test_idle_model_gets_canaries(canaries: ModelProber, monkeypatch: pytest.MonkeyPatch) -> None:
    began = canaries._read_counts()[DEFAULT].answered
    canaries.probe()
    counted(canaries, began + 1)

    assert canaries.probe().canaries[DEFAULT] == ("answered", "", began + 1)  # a moment ago is enough
    canaries.probe(all_versions=True)
    counted(canaries, began + 2)

    monkeypatch.setattr("deploy.watchdog.prober.IDLE_S", 0.0)
    canaries.probe()
    counted(canaries, began + 3)


def test_server_that_is_stopped_for_while_goes_on(watched: Stack, film: bytes) -> None:
    triton, before = server(watched), watchdog_numbers(watched)
    os.kill(triton, signal.SIGSTOP)
    try:
        until(lambda: watchdog_numbers(watched)['clipstack_model_answers{model="camera_motion@1"}'] == 0, 10)
    finally:
        os.kill(triton, signal.SIGCONT)

    until(lambda: is_right(classify(watched, film)), 5)
    assert server(watched) == triton
    assert {series for series in watchdog_numbers(watched) if "model_restarts" in series} == set()
    assert before.keys() <= watchdog_numbers(watched).keys()


def test_unloadable_model_is_loaded_later(watched: Stack) -> None:
    attempts = 'clipstack_model_loads_total{model="unloadable"}'
    until(lambda: watchdog_numbers(watched).get(attempts), 10)
    assert watchdog_numbers(watched)['clipstack_model_answers{model="unloadable"}'] == 0
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    answer = httpx.post(f"{watched.url}/v1/classify?model=unloadable", content=picture.getvalue(), timeout=20)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")

    (watched.model_dir / "unloadable" / scripted_model.CURED).touch()

    until(lambda: watchdog_numbers(watched).get('clipstack_model_answers{model="unloadable@1"}'), 30)
    assert "could not load unloadable: loading it again" in (watched.run_dir / "logs/watchdog.log").read_text()


def test_watchdog_lives_and_ends_with_supervisor(watched: Stack) -> None:
    before = int(watched.supervisorctl("pid", "watchdog"))
    os.kill(before, signal.SIGKILL)
    until(lambda: int(watched.supervisorctl("pid", "watchdog")) not in (0, before), 10)

    began = time.monotonic()
    watched.supervisorctl("stop", "watchdog")
    assert time.monotonic() - began < 3
    watched.supervisorctl("start", "watchdog")

    watchdog = int(watched.supervisorctl("pid", "watchdog"))
    os.kill(int((watched.run_dir / "supervisord.pid").read_text()), signal.SIGKILL)
    assert processes.wait_until_gone([watchdog], 15)
