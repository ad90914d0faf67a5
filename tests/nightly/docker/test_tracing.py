"""Spans of the containers reach a collector on their network."""

from __future__ import annotations

import pytest

from tests.support.docker_compose import UP_S, Compose, command, leftovers
from tests.support.stacks import until

pytestmark = pytest.mark.timeout(1800)

# Prints each service that sends spans to port 4318
COLLECTOR = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        names = [name for name in ("clipstack-web", "clipstack-jobs") if name.encode() in body]
        print(self.path, *names, "POST /v1/classify" if b"POST /v1/classify" in body else "", flush=True)
        self.send_response(200)
        self.end_headers()
HTTPServer(("0.0.0.0", 4318), Collector).serve_forever()
"""


def test_spans_reach_a_collector(images: float, pan_left: bytes) -> None:
    compose = Compose(CLIPSTACK_OTEL_ENDPOINT="http://collector:4318")
    name = f"{compose.project}-collector"
    try:
        compose("up", "-d", "--no-build", timeout=UP_S)
        compose.wait_until_ready()
        network = ("--network", f"{compose.project}_outside", "--network-alias", "collector")
        command("docker", "run", "--detach", "--name", name, *network, "clipstack-web", "python", "-c", COLLECTOR)
        until(lambda: compose.classify(pan_left).status_code == 200, 30)
        until(lambda: "/v1/traces clipstack-web POST /v1/classify" in command("docker", "logs", name), 60)
    finally:
        command("docker", "rm", "--force", name, check=False)
        compose("down", "-v", "--remove-orphans", check=False)
    assert not any(leftovers(compose.project).values())
