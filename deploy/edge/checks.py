"""Checks of the nodes: whether each one's nginx answers, and whether it is ready for new work."""

import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from enum import Enum
from http.client import HTTPConnection, HTTPException

from app.settings.parsers import MAX_NODES

ALIVE_TIMEOUT_S = 2.0  # the node's nginx answers this itself
READY_TIMEOUT_S = 5.0
CHANGES = 2  # equal checks in a row that change a node's condition

log = logging.getLogger(__name__)


class Condition(Enum):
    """The condition of a node: it takes new work, only answers about its jobs, or does not answer."""

    READY = "ready"
    NOT_READY = "not ready"
    AWAY = "away"


class Checker:
    """The conditions of all nodes; a node that was never checked has none."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_NODES, "check")
        self._last = dict[str, deque[Condition]]()
        self.conditions = dict[str, Condition]()

    def close(self) -> None:
        """End the threads, within the timeouts."""
        self._threads.shutdown()

    def check(self, addresses: Mapping[str, str]) -> None:
        """Check all nodes at the same time, and update `conditions`."""
        results = self._threads.map(condition_of, addresses.values())
        for name, condition in zip(addresses, results, strict=True):
            last = self._last.setdefault(name, deque(maxlen=CHANGES))
            last.append(condition)
            before = self.conditions.get(name)
            if before is None or (condition is not before and last.count(condition) == CHANGES):
                self.conditions[name] = condition
                log.warning("node %s is %s", name, condition.value)
        for name in self.conditions.keys() - addresses.keys():
            del self.conditions[name], self._last[name]


def condition_of(address: str) -> Condition:
    """Return the condition of the node with this address now."""
    # Answered by nginx alone, which stays fast under load
    if _status(address, "/static/", ALIVE_TIMEOUT_S) is None:
        return Condition.AWAY
    return Condition.READY if _status(address, "/readyz", READY_TIMEOUT_S) == 200 else Condition.NOT_READY


def _status(address: str, path: str, timeout_s: float) -> int | None:
    """Return the status of a request, None without an answer."""
    host, _, port = address.rpartition(":")
    try:
        with closing(HTTPConnection(host.strip("[]"), int(port), timeout=timeout_s)) as connection:
            connection.request("GET", path)
            with connection.getresponse() as response:
                return response.status
    except (OSError, HTTPException):
        return None
