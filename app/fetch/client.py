"""Client of the fetcher, for threads of web and of the job worker."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from app.fetch import messages
from app.fetch.errors import FetcherUnavailable, SourceTooLarge
from app.fetch.messages import Limits

POLL_S = 0.25
SLACK_S = 5.0  # the fetcher keeps the time itself; this is for one that is stopped
SEND_S = 2.0
SOCKET = "fetch/fetch.sock"  # in the run folder


class Stopped(Exception):
    """The download was stopped, because `is_cancelled` returned true."""


class FetchClient:
    """Client of the fetcher that listens on `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def download(
        self, url: str, file: IO[bytes], limits: Limits, is_cancelled: Callable[[], bool] = lambda: False
    ) -> int:
        """Download to an empty file and return its bytes; blocks.

        Raises:
            Stopped: `is_cancelled()` returned true.
            FetcherUnavailable: The fetcher does not run, or ended.
            ClipstackError: An error of app/fetch/errors.py.
        """
        received = self._exchange(messages.FetchRequest(url, limits), file, is_cancelled)
        size = os.fstat(file.fileno()).st_size
        if size > limits.max_bytes:
            raise SourceTooLarge(f"the file is larger than the {limits.max_bytes >> 20} MiB allowed")
        if size != received:
            raise FetcherUnavailable("the download is incomplete; please try again in a moment")
        return size

    def write(
        self, url: str, file: IO[bytes], limits: Limits, is_cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Write the content of a file to an object; blocks, and raises as `download`."""
        self._exchange(messages.FetchRequest(url, limits, write=True), file, is_cancelled)

    def _exchange(self, request: messages.FetchRequest, file: IO[bytes], is_cancelled: Callable[[], bool]) -> int:
        """Send a request with the descriptor of `file`; return the bytes in the answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(SEND_S)
            try:
                connection.connect(os.fspath(self._path))
                socket.send_fds(connection, [request.to_bytes()], [file.fileno()])
                reply = _wait(connection, request.limits.seconds + SLACK_S, is_cancelled)
            except OSError as error:
                raise FetcherUnavailable(
                    "downloads are starting or restarting; please try again in a moment"
                ) from error
        return messages.parse_answer(reply)


def _wait(connection: socket.socket, seconds: float, is_cancelled: Callable[[], bool]) -> bytes:
    """Return the reply; raises OSError when the fetcher ends or is silent for too long."""
    deadline = time.monotonic() + seconds
    connection.settimeout(POLL_S)
    while True:
        try:
            reply = connection.recv(messages.MAX_MESSAGE)
        except TimeoutError:
            if is_cancelled():
                raise Stopped from None
            if time.monotonic() > deadline:
                raise
            continue
        if not reply:
            raise ConnectionResetError("the fetcher ended")
        return reply
