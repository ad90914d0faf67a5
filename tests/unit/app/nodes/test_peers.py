"""Lists of several nodes: asked within a bounded time, and honest about nodes that are missing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from app.nodes.ids import RELAYED_HEADER
from app.nodes.peers import TIMEOUT_S, Item, Peers
from deploy.stack.ports import free_ports

PAGE = {"jobs": [{"id": "b-1", "created": "2026"}], "next_cursor": None}


@contextmanager
def answering(body: bytes, asked: list[Any], pause_s: float = 0.0) -> Iterator[str]:
    """An HTTP server that sends `body` in two parts, `pause_s` apart; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, dict(self.headers)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:5])
            ended.wait(pause_s)
            self.wfile.write(body[5:])

        def log_message(self, *_: object) -> None:
            pass

    ended = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def items(answer: dict[str, Any]) -> list[Item]:
    return [((job["created"], job["id"]), job) for job in answer["jobs"]]


@contextmanager
def peers(address: str) -> Iterator[Peers]:
    result = Peers("a", {"b": address})
    try:
        yield result
    finally:
        result.close()


def test_node_is_asked_with_the_client_s_key_and_no_further() -> None:
    requests: list[Any] = []
    headers = Headers({"Authorization": "Bearer x", "User-Agent": "y"})
    with answering(json.dumps(PAGE).encode(), requests) as address, peers(address) as others:
        answers = others.ask("/v1/jobs?limit=5", headers, items)
    assert (answers.items, answers.has_more, answers.missing) == (items(PAGE), False, [])
    ((path, sent),) = requests
    assert (path, sent["Authorization"], sent[RELAYED_HEADER]) == ("/v1/jobs?limit=5", "Bearer x", "a")
    assert "y" not in sent.values()


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'{"jobs": 3}', b'{"jobs": [{}], "next_cursor": null}'])
def test_node_that_answers_something_else_is_missing(body: bytes) -> None:
    with answering(body, []) as address, peers(address) as others:
        answers = others.ask("/v1/jobs", Headers(), items)
    assert (answers.items, answers.missing) == ([], ["b"])


def test_node_that_answers_too_slowly_is_missing_and_then_left_alone() -> None:
    requests: list[Any] = []
    with answering(json.dumps(PAGE).encode(), requests, pause_s=30) as address, peers(address) as others:
        began = time.monotonic()
        assert others.ask("/v1/jobs", Headers(), items).missing == ["b"]
        assert time.monotonic() - began < TIMEOUT_S + 1
        assert others.ask("/v1/jobs", Headers(), items).missing == ["b"]
        assert len(requests) == 1


def test_node_that_does_not_listen_is_missing_at_once() -> None:
    (port,) = free_ports(1)
    with peers(f"127.0.0.1:{port}") as others:
        began = time.monotonic()
        assert others.ask("/v1/jobs", Headers(), items).missing == ["b"]
        assert time.monotonic() - began < 1
