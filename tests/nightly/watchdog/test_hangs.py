"""The watchdog on models that hang or are busy for long, and on programs that die repeatedly."""

from __future__ import annotations

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from deploy.stack.restarts import MANY
from deploy.stack.stack import Stack
from deploy.watchdog import backend_processes
from deploy.watchdog.watchdog import STUCK_S
from tests.support import scripted_model
from tests.support.stack_state import pid_of, watchdog_numbers
from tests.support.stacks import until
from tests.support.watched_stack import DEFAULT, HUNG_S, classify, is_right, server, under_load


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


def test_endlessly_waiting_model_is_restarted(watched: Stack) -> None:
    triton, address = server(watched), watched.settings.triton_target
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(scripted_model.infer, address, scripted_model.WAIT_FOR_EVER, 60.0)
        until(lambda: server(watched) not in (0, triton), HUNG_S)
        with pytest.raises(InferenceServerException):
            stuck.result(10)
    watched.wait(30)
    assert scripted_model.infer(address, scripted_model.ANSWER, 10.0) == scripted_model.ANSWER


def test_busy_model_is_not_restarted(watched: Stack, film: bytes) -> None:
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
