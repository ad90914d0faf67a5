"""The state of a running stack: readiness, processes, regions, metrics of its watchdog."""

from __future__ import annotations

import os
from contextlib import suppress

import httpx
from tritonclient.grpc import InferenceServerClient, InferenceServerException

from deploy.stack import paths
from deploy.stack.stack import Stack
from deploy.stack.supervisor import SupervisorClient
from deploy.watchdog import backend_processes
from tests.support.leaks import SHARED_MEMORY
from tests.support.stacks import CHECKOUT

CONFIG = CHECKOUT / "supervisor" / "supervisord.conf"
NGINX_WORKERS = os.cpu_count() or 1  # nginx.conf: `worker_processes auto`


def ready(stack: Stack) -> bool:
    """Return whether the stack reports that it is ready."""
    try:
        return httpx.get(f"{stack.url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def pid_of(stack: Stack, program: str) -> int:
    """Return the pid of a program; 0 if it does not run."""
    programs = SupervisorClient(stack.python, CONFIG, stack.run_dir).programs()
    return programs[program].pid if program in programs else 0


def registered(stack: Stack) -> set[str]:
    """Return the regions that Triton has mapped; none while it is down."""
    with InferenceServerClient(stack.settings.triton_target) as triton, suppress(InferenceServerException):
        return set(triton.get_system_shared_memory_status(as_json=True, client_timeout=2.0).get("regions", {}))
    return set()


def regions(stack: Stack) -> set[str]:
    """Return the regions of shared memory whose owner belongs to the stack, or is dead."""
    owners = {path.name: int(path.name.split("-")[1]) for path in SHARED_MEMORY.glob("clipstack-*")}
    return {name for name, pid in owners.items() if pid in stack.processes() or not os.path.exists(f"/proc/{pid}")}


def owners_of_regions(stack: Stack) -> int:
    return stack.settings.web_workers + 1  # the job worker has one too


def model_process(stack: Stack, model: str) -> int:
    """Return the pid of Triton's backend process of `model`, name@version."""
    (pid,) = [stub.pid for stub in backend_processes.of_server(pid_of(stack, "triton")) if stub.model == model]
    return pid


def watchdog_numbers(stack: Stack) -> dict[str, int]:
    """Return the watchdog's metrics by Prometheus' name and labels."""
    path = stack.run_dir / paths.WATCHDOG_METRICS
    lines = path.read_text().splitlines() if path.exists() else []
    return {series: int(count) for series, _, count in (line.rpartition(" ") for line in lines if line[0] != "#")}
