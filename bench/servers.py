"""The two sides of a comparison as running services: our stack on its own ports, a baseline, Triton with HTTP too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings import CHECKOUT
from bench import films, generator, networks
from bench.generator import FRESH, Load
from deploy import processes
from deploy.ports import free_ports
from deploy.stack import Stack

STRONGEST = "litserve_openvino"
KEYFRAME = f"{STRONGEST}_keyframe"  # our clips begin at key frames, theirs where they begin otherwise
START_S = 240.0
QUIET_TICKS = 2
# Of our stack: room for as many as the load has, because a baseline lets them wait as well
ROOM = {"max_queue": "64", "web_threads": "96", "deadline_s": "300", "queue_timeout_s": "120"}


class ServerError(Exception):
    """A side did not start or did not answer; the message holds the end of its log."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: where it answers, and whose processes it is made of."""

    name: str
    url: str
    members: Callable[[], list[int]]

    @property
    def pids(self) -> list[int]:
        """Its processes just now."""
        return self.members()

    def load(self, film: Path) -> Load:
        return Load(self.url, films.multipart(film), films.CONTENT_TYPE, FRESH)

    def ask(self, film: Path) -> dict[str, Any]:
        """The answer to one file; raises ServerError."""
        load = self.load(film)
        headers = {"Content-Type": load.content_type, **load.headers}
        request = urllib.request.Request(load.url, load.body.read_bytes(), headers)
        try:
            with urllib.request.urlopen(request, timeout=generator.PATIENCE_S) as answer:
                told: dict[str, Any] = json.load(answer)
        except (OSError, ValueError) as error:
            raise ServerError(f"{self.name} does not answer: {error}") from error
        return told

    def label(self, film: Path) -> str:
        """The best label, of our answer or a baseline's."""
        told = self.ask(film)
        return str((told["predictions"][0] if "predictions" in told else told)["label"])


def environment(run_dir: Path, model: str, **settings: str) -> dict[str, str]:
    """Of a stack that lives in `run_dir`, on a port nobody listens on, with one model of bench/networks.py."""
    (port,) = free_ports(1)
    own = {
        "port": str(port), "triton_address": "", "triton_metrics_port": "",
        "run_dir": str(run_dir), "model_dir": str(networks.repository(model)), "model": model,
    }  # fmt: skip
    return os.environ | {f"CLIPSTACK_{name.upper()}": value for name, value in (own | settings).items()}


@contextmanager
def stack(model: str = networks.VIDEO, **settings: str) -> Iterator[Stack]:
    """Our stack, with ROOM and `settings`; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="clipstack-bench-") as folder:
        Path(folder).chmod(0o755)  # nginx's and Triton's user passes through
        running = Stack(CHECKOUT, environment(Path(folder, "run"), model, **(ROOM | settings)))
        try:
            running.up()
            yield running
        finally:
            running.down()


def ours(running: Stack, query: str = "") -> Side:
    return Side("clipstack", f"{running.url}/v1/classify{query}", lambda: list(running.processes()))


def comparisons(running: Stack, baseline: str) -> dict[str, Side]:
    """Our sides that are held against that baseline, by name: as we come, and with the strongest once more."""
    told = {baseline: ours(running)}
    return told | {KEYFRAME: ours(running, "?sampling=keyframe")} if baseline == STRONGEST else told


@contextmanager
def baseline(name: str, *words: str, model: str = networks.VIDEO, settled: bool = True) -> Iterator[Side]:
    """bench/baselines/NAME.py as a person starts it; every process of it is ended at the end.

    `settled`: not before all of its workers have done loading, which would cost it some of its first turn.
    """
    networks.made(model)
    (port,) = free_ports(1)
    command = [sys.executable, "-m", f"bench.baselines.{name}", "--port", str(port), "--model", model, *words]
    with tempfile.NamedTemporaryFile(prefix=f"{name}-", suffix=".log") as log:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(process, port, Path(log.name))
            if settled:
                _settle(process.pid)
            yield Side(name, f"http://127.0.0.1:{port}/classify", lambda: _group(process.pid))
        finally:
            _end(process)


def grow(side: Side, workers: int) -> None:
    """Has a baseline of gunicorn's that many workers, of which it has fewer now; raises ServerError."""
    leader = os.getpgid(side.pids[0])  # gunicorn's master, itself no worker
    deadline = time.monotonic() + START_S
    while (count := len(side.pids) - 1) < workers:
        os.kill(leader, signal.SIGTTIN)  # one after the other: two that wait are one
        while len(side.pids) - 1 <= count:
            if time.monotonic() > deadline:
                raise ServerError(f"{side.name} has {count} workers after {START_S:.0f} s, not {workers}")
            time.sleep(0.05)
    _settle(leader)


def _group(leader: int) -> list[int]:
    return [
        pid for entry in os.listdir("/proc") if entry.isdecimal() and processes.group_of(pid := int(entry)) == leader
    ]


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Returns when it answers at all."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"it ended with status {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=START_S):
                return
        except urllib.error.HTTPError as error:
            error.close()
            return  # a 404 is an answer of the application
        except OSError:
            time.sleep(0.2)
    raise ServerError(f"it does not listen after {START_S:.0f} s:\n{log.read_text()[-2000:]}")


def _settle(leader: int) -> None:
    """Returns when its processes have nothing more to do; raises ServerError when that does not come."""
    deadline = time.monotonic() + START_S
    quiet = 0
    while quiet < 3:
        if time.monotonic() > deadline:
            raise ServerError(f"it is still busy with its start after {START_S:.0f} s")
        pids = _group(leader)
        before = sum(map(ticks, pids))
        time.sleep(0.4)
        quiet = quiet + 1 if sum(map(ticks, pids)) - before <= QUIET_TICKS and _group(leader) == pids else 0


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, patience_s in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
        if processes.gone(_group(process.pid), patience_s):
            return


@contextmanager
def triton(models: Path) -> Iterator[tuple[str, str]]:
    """Triton as the stack starts it, but with HTTP besides: its gRPC and its HTTP address."""
    from bench.gpu_server import running_triton

    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="clipstack-bench-") as folder:
        module = ("bench.http_triton", str(port))
        with running_triton(models, Path(folder, "run"), 1, "f32", module) as address:  # batch: of GPUs alone
            yield address, f"127.0.0.1:{port}"


def idle_cores(pids: list[int], seconds: float = 2.0) -> float:
    """Cores that these processes, whose start is behind them, keep busy while nobody asks anything."""
    before = sum(map(ticks, pids))
    time.sleep(seconds)
    return (sum(map(ticks, pids)) - before) / os.sysconf("SC_CLK_TCK") / seconds


def ticks(pid: int) -> int:
    """Processor time of a process until now, in the kernel's ticks; 0 when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


__all__ = [
    "ROOM",
    "ServerError",
    "Side",
    "baseline",
    "environment",
    "grow",
    "idle_cores",
    "ours",
    "stack",
    "ticks",
    "triton",
]
