"""Detection of programs that restart again and again; a single start looks healthy."""

import re
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path

from deploy.stack import paths

WINDOW_S = 300.0
MANY = 3  # restarts within WINDOW_S; manual restarts come once or twice
GAUGE = "clipstack_program_restarts"
_SERIES = re.compile(rf'^{GAUGE}{{program="([^"]+)"}} (\d+)$', re.MULTILINE)


class RestartHistory:
    """Restarts of each program that were seen within the last WINDOW_S."""

    def __init__(self) -> None:
        self._started: dict[str, int] = {}
        self._restarts: dict[str, deque[float]] = defaultdict(deque)

    def update(self, started: Mapping[str, int], now: float) -> dict[str, int]:
        """Return the number of restarts of each program.

        `started` is when Supervisor last started each, 0 when it never did. `now` are seconds of a clock that does not
        jump.
        """
        for name, start in started.items():
            if self._started.get(name) and start != self._started[name]:
                self._restarts[name].append(now)
            self._started[name] = start
            while self._restarts[name] and self._restarts[name][0] <= now - WINDOW_S:
                self._restarts[name].popleft()
        return {name: len(self._restarts[name]) for name in started}


def describe(program: str, count: int) -> str:
    """Return a sentence about a program's restarts, for a log or a terminal."""
    return f"{program} was restarted {count} times within {WINDOW_S / 60:g} minutes: see its log for the reason"


def counts(run_dir: Path) -> dict[str, int]:
    """Return the recent restarts of each program as the watchdog of `run_dir` reports them; empty without its file."""
    try:
        text = (run_dir / paths.WATCHDOG_METRICS).read_text()
    except OSError:
        return {}
    return {name: int(count) for name, count in _SERIES.findall(text)}


def warnings(run_dir: Path) -> list[str]:
    """Return a sentence for each program that restarts again and again."""
    return [describe(name, count) for name, count in counts(run_dir).items() if count >= MANY]
