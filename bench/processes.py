"""Processes of any Clipstack stack, of this checkout or an older one, grouped by their command lines."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from deploy.stack import processes

# The first match decides: a decoder's command line also holds names of our modules
PARTS = (
    ("triton_python_backend_stub", "model process"),
    ("tritonserver", "triton"),
    ("multiprocessing", "decoders"),
    ("gunicorn", "web"),
    ("app.jobs.webhooks", "webhooks"),
    ("app.job_worker", "jobs"),
    ("deploy.watchdog", "watchdog"),
    ("supervisord", "supervisord"),
    ("nginx", "nginx"),
)


def command_line(pid: int) -> str:
    """Return the command line with blanks as separators; empty if the process has ended."""
    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


def part_of(command: str) -> str:
    """Return the part of the stack that a command line belongs to, or "other"."""
    return next((part for word, part in PARTS if word in command), "other")


def cpu_s(pid: int) -> float:
    """Return the processor seconds of a process; 0 if it has ended."""
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0


def pss_mib(pid: int) -> float:
    """Return the proportional set size in MiB; 0 for a process that has ended."""
    with suppress(psutil.Error):
        return float(psutil.Process(pid).memory_full_info().pss / (1 << 20))
    return 0.0


def session_members(leader: int) -> list[int]:
    """Return the processes of a session; all programs of a stack share supervisord's."""
    return [pid for pid in psutil.pids() if _session(pid) == leader and processes.is_running(pid)]


def cpu_seconds_by_part(leader: int, before: dict[int, float]) -> Counter[str]:
    """Return the processor seconds of each part of a session since `before`, a result of `cpu_of_session`."""
    seconds: Counter[str] = Counter()
    for pid, used_s in cpu_of_session(leader).items():
        seconds[part_of(command_line(pid))] += used_s - before.get(pid, 0.0)  # type: ignore[assignment]
    return seconds


def cpu_of_session(leader: int) -> dict[int, float]:
    """Return the processor seconds of each process of a session."""
    return {pid: cpu_s(pid) for pid in session_members(leader)}


@contextmanager
def sampling(every_s: float, sample: Callable[[], None]) -> Iterator[None]:
    """Call `sample` in a thread, every `every_s` seconds until the block ends."""
    ends = threading.Event()

    def run() -> None:
        while not ends.is_set():
            sample()
            ends.wait(every_s)

    thread = threading.Thread(target=run, name="sampling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
