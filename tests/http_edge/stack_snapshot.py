"""A stack at one moment: processes, files, slots, regions, descriptors and logs."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.stack import paths
from deploy.stack.stack import Stack
from tests.nightly.faults.stack_processes import nginx_workers, web_workers
from tests.support.stack_state import NGINX_WORKERS, owners_of_regions, regions
from tests.support.stacks import until


def whole(stack: Stack) -> bool:
    """Return whether all workers have started: a stack is ready before its last worker is."""
    workers = (len(web_workers(stack)), len(nginx_workers(stack)), len(regions(stack)))
    return workers == (stack.settings.web_workers, NGINX_WORKERS, owners_of_regions(stack))


@dataclass(frozen=True)
class State:
    """A snapshot; `busy` counts running and waiting requests, as the workers report them."""

    web: tuple[int, ...]
    nginx: tuple[int, ...]
    regions: frozenset[str]
    files: frozenset[str]
    descriptors: int
    busy: int

    @classmethod
    def of(cls, stack: Stack) -> State:
        web, nginx = tuple(web_workers(stack)), tuple(nginx_workers(stack))
        folders = (stack.run_dir / "uploads", stack.run_dir / paths.TEMPORARY_FOLDER, stack.run_dir / "tmp")
        files = {str(path) for folder in folders for path in folder.rglob("*") if path.is_file()}
        return cls(web, nginx, frozenset(regions(stack)), frozenset(files), _descriptors([*web, *nginx]), _busy(stack))


def _descriptors(pids: list[int]) -> int:
    count = 0
    for pid in pids:
        with suppress(OSError):
            count += len(os.listdir(f"/proc/{pid}/fd"))
    return count


def _busy(stack: Stack) -> int:
    """Return the running and waiting requests of the worker that answers."""
    answers = list[dict[str, Any]]()

    def answered() -> bool:  # canaries are late on a busy machine
        answers.append(httpx.get(f"{stack.url}/readyz", timeout=30).json())
        return "admission" in answers[-1]

    until(answered, 20)
    admission = answers[-1]["admission"]
    return int(admission["at_work"] + admission["waiting"])


def logs(stack: Stack) -> dict[str, list[str]]:
    """Return the lines of each log."""
    lines = {}
    for path in sorted(Path(stack.run_dir, "logs").glob("*.log")):
        lines[path.name] = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    return lines


def tracebacks(stack: Stack) -> list[str]:
    """Return the first or last line of each traceback in the logs, after the log's name."""
    tracebacks = []
    for name, lines in logs(stack).items():
        for number, line in enumerate(lines):
            if line.startswith("Traceback"):
                last = next((item for item in lines[number + 1 :] if item and item[0] not in " \t"), "")
                tracebacks.append(f"{name}: {last[:100]}")
            elif "Traceback" in line:
                tracebacks.append(f"{name}: {line[:160]}")
    return tracebacks
