"""The watchdog on a real stack: which faults of models it repairs, and which it leaves alone."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from deploy.stack import processes
from deploy.stack.stack import Stack
from deploy.watchdog.prober import ModelProber
from tests.support import scripted_model
from tests.support.stack_state import model_process, watchdog_numbers
from tests.support.stacks import until
from tests.support.watched_stack import DEAD_S, DEFAULT, HUNG_S, classify, is_right, server, under_load


@pytest.mark.parametrize(
    ("hurt", "cause", "limit_s"),
    [(signal.SIGKILL, "dead", DEAD_S), (signal.SIGSTOP, "hung", HUNG_S)],
    ids=["killed", "stopped"],
)
def test_model_answers_again_after_a_fault_of_its_process(
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


@pytest.fixture
def canaries(own: Stack) -> Iterator[ModelProber]:
    """Canaries sent by the test, while the stack's own watchdog is stopped."""
    own.supervisorctl("stop", "watchdog")
    canaries = ModelProber(own.settings.triton_target)
    yield canaries
    canaries.close()
    own.supervisorctl("start", "watchdog")


def counted(canaries: ModelProber, count: int) -> None:
    """Wait until Triton has counted the answer."""
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
    counted(canaries, began + 3)  # no requests since


def test_idle_model_gets_canaries(canaries: ModelProber, monkeypatch: pytest.MonkeyPatch) -> None:
    began = canaries._read_counts()[DEFAULT].answered
    canaries.probe()
    counted(canaries, began + 1)

    assert canaries.probe().canaries[DEFAULT] == ("answered", "", began + 1)  # recent enough
    canaries.probe(all_versions=True)
    counted(canaries, began + 2)

    monkeypatch.setattr("deploy.watchdog.prober.IDLE_S", 0.0)
    canaries.probe()
    counted(canaries, began + 3)


def test_stopped_server_continues_after_sigcont(watched: Stack, film: bytes) -> None:
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
