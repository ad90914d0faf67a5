"""The other nodes, as lists ask them: all at once, within a bounded time."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse
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

Item = tuple[tuple[Any, str], dict[str, Any]]  # with its time and id


class PeerFailed(Exception):
    """A node did not answer in time, or not with a page of the list."""


class Answers(NamedTuple):
    """Items of the nodes that answered, whether one of them has more, and the names of those that did not answer."""

    items: list[Item]
    has_more: bool
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

    def ask(self, path: str, headers: Headers, items: Callable[[dict[str, Any]], list[Item]]) -> Answers:
        """Return what the other nodes answer to `GET path`, a list; `items` returns those of an answer.

        Those of the client's `headers` that have its key are passed on.
        """
        passed = {name: headers[name] for name in PASSED_HEADERS if name in headers} | {RELAYED_HEADER: self._own}
        now = time.monotonic()
        asked = {
            self._threads.submit(_get, address, path, passed, now + TIMEOUT_S): name
            for name, address in self.addresses.items()
            if self._paused_until[name] <= now
        }
        answers = Answers([], False, [])
        answered = set[str]()
        done, _ = wait(asked, timeout=TIMEOUT_S)
        for future in done:
            try:
                page = future.result()
                found, has_more = items(page), page["next_cursor"] is not None
                answers = answers._replace(items=answers.items + found, has_more=answers.has_more or has_more)
                answered.add(asked[future])
            except (PeerFailed, KeyError, TypeError, ValueError) as error:
                log.warning("node %s is missing in %s: %r", asked[future], path.partition("?")[0], error)
        for name in set(asked.values()) - answered:
            self._paused_until[name] = time.monotonic() + PAUSE_S
        return answers._replace(missing=sorted(self.addresses.keys() - answered))


def _body(response: HTTPResponse, deadline: float) -> bytes:
    """Return the body of a response; raises PeerFailed."""
    if response.status != 200:
        raise PeerFailed(f"it answered {response.status}")
    body = b""
    while chunk := response.read1(CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
            raise PeerFailed("its answer is too long or too slow")
    return body


def _get(address: str, path: str, headers: Mapping[str, str], deadline: float) -> dict[str, Any]:
    """Return a node's answer; raises PeerFailed."""
    try:
        host, _, port = address.rpartition(":")
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise PeerFailed("it was not asked in time")
        with closing(HTTPConnection(host.strip("[]"), int(port), timeout=remaining_s)) as connection:
            connection.request("GET", path, headers=dict(headers))
            with connection.getresponse() as response:
                answer: dict[str, Any] = json.loads(_body(response, deadline))
                return answer
    except (OSError, HTTPException, ValueError) as error:
        raise PeerFailed(str(error) or type(error).__name__) from error
