"""The other nodes, as a list of jobs asks them: all at once, within a bounded time."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple

from werkzeug.datastructures import Headers

from app.nodes.ids import RELAYED_HEADER

TIMEOUT_S = 2.0  # for the answers of all nodes together
PAUSE_S = 2.0  # for which a node that did not answer is not asked again
MAX_ANSWER_BYTES = 16 << 20
CHUNK_BYTES = 64 << 10
THREADS = 16
PASSED_HEADERS = ("Authorization", "X-Api-Key", "Cookie", "Host")

log = logging.getLogger(__name__)


class PeerFailed(Exception):
    """A node did not answer in time, or not with a page of jobs."""


class Pages(NamedTuple):
    """Pages of the nodes that answered, and the names of those that did not."""

    pages: list[list[dict[str, Any]]]
    missing: list[str]


class Peers:
    """The other nodes of the node `own`: their names and addresses. Safe for several threads."""

    def __init__(self, own: str, addresses: Mapping[str, str]) -> None:
        self._own, self.addresses = own, addresses
        self._threads = ThreadPoolExecutor(THREADS, "peers")  # starts its threads when they are needed, after the fork
        self._paused_until = dict.fromkeys(addresses, 0.0)

    def close(self) -> None:
        """End the threads; those that wait for an answer end within TIMEOUT_S."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def jobs(self, query: str, headers: Headers) -> Pages:
        """Return the other nodes' pages of `GET /v1/jobs`, asked with the headers of the client's request."""
        passed = {name: headers[name] for name in PASSED_HEADERS if name in headers} | {RELAYED_HEADER: self._own}
        now = time.monotonic()
        deadline = now + TIMEOUT_S
        asked = {
            self._threads.submit(_jobs, address, f"/v1/jobs?{query}", passed, deadline): name
            for name, address in self.addresses.items()
            if self._paused_until[name] <= now
        }
        pages = []
        answered = set[str]()
        done, _ = wait(asked, timeout=TIMEOUT_S)
        for future in done:
            try:
                pages.append(future.result())
                answered.add(asked[future])
            except PeerFailed as error:
                log.warning("node %s is missing in a list of jobs: %s", asked[future], error)
        for name in asked.values():
            if name not in answered:
                self._paused_until[name] = time.monotonic() + PAUSE_S
        return Pages(pages, sorted(self.addresses.keys() - answered))


def merge(pages: list[list[dict[str, Any]]], limit: int) -> list[dict[str, Any]]:
    """Return the newest `limit` jobs of all pages, newest first."""
    jobs = [job for page in pages for job in page]
    return sorted(jobs, key=lambda job: (job["created"], job["id"]), reverse=True)[:limit]


def _jobs(address: str, path: str, headers: Mapping[str, str], deadline: float) -> list[dict[str, Any]]:
    """Return a node's page of jobs; raises PeerFailed."""
    try:
        host, _, port = address.rpartition(":")
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("it was not asked in time")
        connection = HTTPConnection(host.strip("[]"), int(port), timeout=remaining_s)
        try:
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            if response.status != 200:
                raise PeerFailed(f"it answered {response.status}")
            body = b""
            while chunk := response.read1(CHUNK_BYTES):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                    raise PeerFailed("its answer is too long or too slow")
        finally:
            connection.close()
        jobs: list[dict[str, Any]] = json.loads(body)["jobs"]
        if not all(isinstance(job[name], str) for job in jobs for name in ("created", "id")):
            raise PeerFailed("its jobs have no ids")
        return jobs
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise PeerFailed(str(error) or type(error).__name__) from error
