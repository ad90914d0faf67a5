"""A TCP proxy that breaks all its connections after so many bytes to the server, and counts the bytes."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

READ_BYTES = 64 << 10
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the kernel sends RST and drops what it has


class BreakingLink:
    """A proxy to `port` that breaks all connections after every `every_bytes` bytes from clients; never if it is 0."""

    def __init__(self, port: int, every_bytes: int = 0) -> None:
        self._port, self._every_bytes = port, every_bytes
        self._lock, self._open = threading.Lock(), set[socket.socket]()
        self._until_break = every_bytes
        self.sent = self.breaks = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and break what is open."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_now()

    def break_now(self) -> None:
        """Break all connections."""
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:  # nginx is being restarted
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(READ_BYTES):
                is_broken = counted and self._count(len(data))
                target.sendall(data)
                if is_broken:
                    self.break_now()
                    return
            target.shutdown(socket.SHUT_WR)
            return
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _count(self, count: int) -> bool:
        """Count bytes from a client; return whether the link breaks now."""
        with self._lock:
            self.sent += count
            self._until_break -= count
            if not self._every_bytes or self._until_break > 0:
                return False
            self._until_break = self._every_bytes
            self.breaks += 1
            return True


@contextmanager
def breaking_link(port: int, every_bytes: int = 0) -> Iterator[BreakingLink]:
    """Yield a link to the port of this machine and close it afterwards."""
    link = BreakingLink(port, every_bytes)
    try:
        yield link
    finally:
        link.close()
