"""The load balancer as a program, in front of small HTTP servers: what goes where, and what a hanging node costs."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.support import certificates
from tests.support.nodes import EdgeProcess
from tests.support.stacks import until

ANSWER_S = 1
ID = "0123456789abcdef01234567"


class Upstream:
    """An HTTP server that answers with its name, and keeps the requests that it got; it can hang, or be not ready."""

    def __init__(self, name: str) -> None:
        self.name, self.requests = name, list[str]()
        self.ready, self.released = True, threading.Event()
        self.released.set()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upstream.answer(self)

            do_POST = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.spec = f"{name}={self.address}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if handler.path not in ("/static/", "/readyz"):
            self.requests.append(f"{handler.command} {handler.path}")
            self.released.wait(30)
        handler.send_response(503 if handler.path == "/readyz" and not self.ready else 200)
        handler.send_header("Content-Length", str(len(self.name)))
        handler.end_headers()
        handler.wfile.write(self.name.encode())

    @contextmanager
    def running(self) -> Iterator[Upstream]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            self.stop()
            thread.join()

    def stop(self) -> None:
        """Listen no more."""
        self.server.shutdown()
        self.server.server_close()


class Setup:
    """Two upstreams, the load balancer, and a client of it."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self.a, self.b = (cleanup.enter_context(Upstream(name).running()) for name in "ab")
        self.edge = EdgeProcess(folder / "edge")
        specs = (self.a.spec, self.b.spec)
        cleanup.enter_context(self.edge.running(*specs, arguments=("--answer-s", str(ANSWER_S))))
        self.http = cleanup.enter_context(httpx.Client(base_url=self.edge.url, timeout=30))
        until(lambda: self.edge.condition("b") == "ready", 20)


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    with ExitStack() as cleanup:
        yield Setup(tmp_path, cleanup)


def test_requests_go_where_their_id_says(setup: Setup) -> None:
    for name in "ab":
        for path in (f"/v1/jobs/{name}-{ID}", f"/v1/uploads/{name}-{ID}01234567", f"/v1/feedback?job={name}-{ID}"):
            assert setup.http.get(path).text == name
        assert setup.http.post(f"/v1/search?job={name}-{ID}&window=0").text == name
        assert setup.http.get("/v1/webhooks", headers={"X-Clipstack-Node": name}).text == name
    assert setup.http.get(f"/v1/jobs/{ID}").text == "a"
    assert {setup.http.post("/v1/classify", content=b"x").text for _ in range(8)} == {"a", "b"}
    answer = setup.http.get("/metrics")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_post_on_a_hanging_node_ends_in_time_and_is_sent_once(setup: Setup) -> None:
    setup.a.released.clear()
    setup.b.released.clear()
    began = time.monotonic()
    answer = setup.http.post("/v1/jobs", content=b"x")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert ANSWER_S <= time.monotonic() - began < ANSWER_S + 3
    assert setup.a.requests + setup.b.requests == ["POST /v1/jobs"]


def test_post_goes_on_to_the_next_node_if_none_listens(setup: Setup) -> None:
    setup.a.stop()
    assert {setup.http.post("/v1/jobs", content=b"x").text for _ in range(6)} == {"b"}


def test_node_that_is_not_ready_keeps_its_jobs_only(setup: Setup) -> None:
    setup.b.ready = False
    until(lambda: setup.edge.condition("b") == "not ready", 20)
    assert {setup.http.post("/v1/classify", content=b"x").text for _ in range(6)} == {"a"}
    assert setup.http.get(f"/v1/jobs/b-{ID}").text == "b"


def test_drain_waits_for_the_requests_of_the_node(setup: Setup) -> None:
    setup.b.released.clear()
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(setup.http.get, f"/v1/jobs/b-{ID}")
        until(lambda: setup.b.requests, 10)
        drain = pool.submit(setup.edge.call, "drain", "b")
        until(lambda: setup.edge.condition("b") == "ready, drained", 20)
        assert {setup.http.post("/v1/classify", content=b"x").text for _ in range(6)} == {"a"}
        assert not drain.done()
        setup.b.released.set()
        drain.result(20)
        assert slow.result(5).text == "b"
    setup.edge.call("restore", "b")
    assert {setup.http.post("/v1/classify", content=b"x").text for _ in range(8)} == {"a", "b"}


def test_nodes_are_added_and_removed_while_it_runs(setup: Setup) -> None:
    with Upstream("c").running() as added:
        setup.edge.call("add", added.spec)
        assert setup.http.get(f"/v1/jobs/c-{ID}").text == "c"
        setup.edge.call("remove", "c")
        assert setup.edge.condition("c") == ""
        assert setup.http.get(f"/v1/jobs/c-{ID}").text in ("a", "b")


def test_load_balancer_speaks_tls(tmp_path: Path) -> None:
    pair = certificates.made(tmp_path / "tls")
    edge = EdgeProcess(tmp_path / "edge")
    arguments = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    with Upstream("a").running() as upstream, edge.running(upstream.spec, arguments=arguments):
        trust = ssl.create_default_context(cafile=pair.cert)
        answer = httpx.get(f"https://127.0.0.1:{edge.port}/v1/jobs/a-{ID}", verify=trust)
        assert answer.text == "a"


def test_failed_upgrade_leaves_the_node_drained(setup: Setup) -> None:
    with pytest.raises(AssertionError, match="status 3: node b stays drained"):
        setup.edge.call("upgrade", "b", "--", "sh", "-c", "exit 3")
    assert setup.edge.condition("b") == "ready, drained"
    setup.edge.call("upgrade", "b", "--", "true")
    assert setup.edge.condition("b") == "ready"
