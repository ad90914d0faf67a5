"""A proxy between nginx and gunicorn, on their own socket, that records what reaches the app."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Tap:
    """Records the requests to web, as the bytes that nginx sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: list[bytearray] = []

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def requests(self) -> list[bytes]:
        """Return the requests in their order, one per connection."""
        with self._lock:
            return [bytes(stream) for stream in self._streams if stream]

    def asking_for(self, path: str) -> list[bytes]:
        """Return the requests with `path` in their request line."""
        return [request for request in self.requests if path.encode() in request.split(b"\r\n", 1)[0]]

    def relay(self, inside: socket.socket, outside: Path) -> None:
        stream = bytearray()
        with self._lock:
            self._streams.append(stream)
        with inside, socket.socket(socket.AF_UNIX) as web, selectors.DefaultSelector() as selector:
            web.connect(str(outside))
            selector.register(inside, selectors.EVENT_READ, web)
            selector.register(web, selectors.EVENT_READ, inside)
            while True:
                for key, _ in selector.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    try:
                        part = source.recv(65536)
                        if part and source is inside:
                            with self._lock:
                                stream += part
                        target.sendall(part)
                    except OSError:
                        return
                    if not part:
                        return  # each side sees at once that the other has closed


@contextmanager
def tapped(web_socket: Path) -> Iterator[Tap]:
    """Tap the socket for the block."""
    tap, behind = Tap(), web_socket.with_name("web.behind.sock")
    result = web_socket.stat()
    threads = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                inside, _ = listening.accept()
                threads.append(threading.Thread(target=tap.relay, args=(inside, behind)))
                threads[-1].start()

    with socket.socket(socket.AF_UNIX) as listening:
        fresh = web_socket.with_name("web.tap.sock")
        listening.bind(str(fresh))
        os.chown(fresh, result.st_uid, result.st_gid)
        fresh.chmod(result.st_mode & 0o777)
        listening.listen(512)
        os.link(web_socket, behind)
        fresh.replace(web_socket)
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield tap
        finally:
            behind.replace(web_socket)
            listening.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)
