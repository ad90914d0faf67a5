"""Interface of the places of results."""

import os
import socket
import uuid
from typing import Protocol

from ...errors import ClipstackError


class StoreFailed(ClipstackError):
    """A bucket, or the folder of the results, cannot be read or written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="storage_failed")


class Appender(Protocol):
    """Writer of one journal."""

    def append(self, line: bytes) -> None:
        """Add a line without waiting; it is safe from a kill after the next `flush` at the latest."""
        ...

    def flush(self) -> None:
        """Write the lines that are still in memory."""
        ...

    def close(self) -> None:
        """Write the rest and release everything."""
        ...


class Store(Protocol):
    """Files by their names, which may contain slashes. All methods block and raise StoreFailed."""

    def names(self, folder: str = "") -> list[str]:
        """Return the names directly in a folder, without it; none if there is no such folder."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is a file."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file; raise FileNotFoundError if there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Write a file atomically, unless there is one; return whether it was written."""
        ...

    def appender(self, folder: str) -> Appender:
        """Return a writer of a new journal in a folder."""
        ...

    def remove(self, folder: str) -> None:
        """Remove a folder with its files, if there is one."""
        ...


def writer_name() -> str:
    """Return a name that no other writer of any machine has."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
