"""A name server with a table; answers may change between queries."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address

A, AAAA, IN = 1, 28, 1
NAME_ERROR, SILENT = 3, "silent"
Table = Mapping[str, tuple[str, ...]]  # name -> addresses; `first>later` changes after the first query


class DnsServer(socketserver.ThreadingUDPServer):
    """The server; `queries` counts the queries for IPv4 addresses by name."""

    daemon_threads = True

    def __init__(self, host: str, port: int, table: Table) -> None:
        super().__init__((host, port), _Handler)
        self.table, self.queries = table, Counter[str]()
        self.lock = threading.Lock()

    def addresses(self, name: str, kind: int) -> list[str] | None:
        """Return the addresses of one kind; None for a name that is not in the table."""
        entries = self.table.get(name)
        if entries is None:
            return None
        with self.lock:
            self.queries[name] += kind == A
            first = self.queries[name] <= 1
        chosen = [entry.split(">")[0 if first else -1] for entry in entries if entry != SILENT]
        return [address for address in chosen if ip_address(address).version == (4 if kind == A else 6)]


class _Handler(socketserver.BaseRequestHandler):
    server: DnsServer

    def handle(self) -> None:
        message, answer_socket = self.request
        name, end = _name(message)
        (kind,) = struct.unpack_from("!H", message, end)
        if SILENT in self.server.table.get(name, ()):
            return
        addresses = self.server.addresses(name, kind)
        code, answers = (NAME_ERROR, []) if addresses is None else (0, addresses)
        header = message[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(answers), 0, 0)
        records = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, IN, 0, len(packed)) + packed
            for packed in (ip_address(address).packed for address in answers)
        )
        answer_socket.sendto(header + message[12 : end + 4] + records, self.client_address)


def _name(message: bytes) -> tuple[str, int]:
    """Return the name of the query, and the offset of its type."""
    labels, position = [], 12
    while length := message[position]:
        labels.append(message[position + 1 : position + 1 + length].decode("latin-1").lower())
        position += length + 1
    return ".".join(labels), position + 1


@contextmanager
def dns_server(host: str, table: Table, port: int = 53) -> Iterator[DnsServer]:
    """Run a server in a thread."""
    socketserver.UDPServer.address_family = socket.AF_INET
    with DnsServer(host, port, table) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)
