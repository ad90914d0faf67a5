"""An S3 on this machine: moto's server in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import obstore
from obstore.store import S3Store

from deploy.stack.ports import free_ports
from tests.support.stacks import until

REGION = "us-east-1"


class S3Server:
    """The server; it takes any credentials, so the tests need none."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url, self.process = url, process

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }

    def make_bucket(self, name: str) -> None:
        httpx.put(f"{self.url}/{name}", timeout=20).raise_for_status()

    def put(self, path: str, content: bytes) -> None:
        httpx.put(f"{self.url}/{path}", content=content, timeout=20).raise_for_status()

    def get(self, bucket: str, key: str) -> tuple[bytes, str]:
        """The content and the content type of an object; raises FileNotFoundError."""
        config = {"endpoint": self.url, "region": REGION, "access_key_id": "testing", "secret_access_key": "testing"}
        store = S3Store(bucket, config=config, client_options={"allow_http": True})
        result = obstore.get(store, key)
        content_type = str(result.attributes["Content-Type"])
        return bytes(result.bytes()), content_type

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _answers(self) -> bool:
        assert self.process.poll() is None
        try:
            return httpx.get(self.url, timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server on a free port."""
    (port,) = free_ports(1)
    command = [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = S3Server(f"http://127.0.0.1:{port}", process)
    try:
        until(server._answers, 30)
        yield server
    finally:
        server.stop()
