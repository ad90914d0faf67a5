"""A web server that misbehaves as its paths say; it records the requests that reach it."""

from __future__ import annotations

import gzip
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

PATIENCE_S = 60.0  # duration of a slow path
CONTENT = bytes(range(256)) * 1024

Send = Callable[[bytes], None]


def head(status: int = 200, **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def drip(send: Send, content: bytes, pause_s: float) -> None:
    until = time.monotonic() + PATIENCE_S
    for number in range(len(content)):
        if time.monotonic() > until:
            return
        send(content[number : number + 1])
        time.sleep(pause_s)


def endless(send: Send, chunk: bytes) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        send(chunk)


class _Handler(socketserver.BaseRequestHandler):
    server: HostileServer

    def handle(self) -> None:
        request = b""
        while b"\r\n\r\n" not in request and (part := self.request.recv(65536)):
            request += part
        if not request:
            return
        text = request.decode("latin-1")
        self.server.requests.append(text)
        parts = urlsplit(text.split(" ")[1])
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        with suppress(OSError):  # the client disconnected
            self.respond(parts.path, query)

    def respond(self, path: str, query: dict[str, str]) -> None:
        send: Send = self.request.sendall
        match path:
            case "/redirect":
                send(head(302, Location=query["to"], Set_Cookie="session=secret", Content_Length=0))
            case "/again":  # to itself, which resolves the name again
                send(head(302, Location=query.get("to", "/again"), Content_Length=0))
            case "/endless":
                send(head(Transfer_Encoding="chunked"))
                endless(send, b"10000\r\n" + b"x" * 65536 + b"\r\n")
            case "/endless-until-close":
                send(head())
                endless(send, b"x" * 65536)
            case "/huge":
                send(head(Content_Length=10**15) + CONTENT)
                time.sleep(1)
            case "/slow":
                send(head(Content_Length=1 << 20))
                drip(send, bytes(1 << 20), 0.02)
            case "/silent":
                self.request.settimeout(PATIENCE_S)
                self.request.recv(1)
                self.server.left.append(path)
            case "/slow-headers":
                drip(send, head(X="y" * 10_000), 0.05)
            case "/endless-headers":
                send(b"HTTP/1.1 200 OK\r\n")
                endless(send, b"X-Header: " + b"y" * 1000 + b"\r\n")
            case "/endless-continue":
                endless(send, b"HTTP/1.1 100 Continue\r\n\r\n")
            case "/gzip":
                bomb = gzip.compress(bytes(64 << 20))
                send(head(Content_Encoding="gzip", Content_Length=len(bomb)) + bomb)
            case "/transfer-gzip":
                send(head(Transfer_Encoding="gzip, chunked") + b"5\r\nabcde\r\n0\r\n\r\n")
            case "/short":
                send(head(Content_Length=len(CONTENT) + 1) + CONTENT)
            case "/two-lengths":
                send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef")
            case "/garbage":
                send(b"SSH-2.0-OpenSSH_9.2\r\n" + b"\0" * 1000)
            case "/switch":
                send(head(101, Upgrade="websocket", Connection="Upgrade") + CONTENT)
            case "/partial":
                send(head(206, Content_Range="bytes 0-1/2", Content_Length=2) + b"ab")
            case "/empty":
                send(head(Content_Length=0))
            case _ if path.startswith("/status/"):
                send(head(int(path.rpartition("/")[2]), Content_Length=0))
            case _:
                content = self.server.content
                send(head(Content_Length=len(content), Set_Cookie="session=secret") + content)


class HostileServer(socketserver.ThreadingTCPServer):
    """The server; `requests` has the text of each request, `content` is the file at all other paths.

    `left` names the silent paths whose clients have gone.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, content: bytes, context: ssl.SSLContext | None = None) -> None:
        super().__init__((host, port), _Handler)
        self.requests: list[str] = []
        self.left: list[str] = []
        self.content = content
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.port: int = self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: clients end connections."""


@contextmanager
def hostile_server(
    host: str = "127.0.0.1", port: int = 0, content: bytes = CONTENT, context: ssl.SSLContext | None = None
) -> Iterator[HostileServer]:
    """Run a server in a thread."""
    with HostileServer(host, port, content, context) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)
