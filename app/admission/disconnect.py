"""Detect disconnected clients: nginx closes its connection to the worker when the client has gone."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import ClientDisconnected


def has_closed(connection: socket.socket | None) -> bool:
    """Return whether the peer has closed `connection`; False for None."""
    return connection is not None and _peek(connection) is True


def _peek(connection: socket.socket) -> bool | None:
    """Return whether the peer has closed `connection`; None if there is nothing to read yet."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return True


@asynccontextmanager
async def connected(connection: socket.socket | None) -> AsyncIterator[None]:
    """Cancel the block when the peer closes `connection`, and raise ClientDisconnected."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if connection is None or task is None:
        yield
        return
    number, gone = connection.fileno(), False

    def readable() -> None:
        nonlocal gone
        closed = _peek(connection)
        if closed is None:
            return
        gone = closed
        loop.remove_reader(number)  # pending data stays unread and would trigger this callback forever
        if gone:
            task.cancel()

    loop.add_reader(number, readable)
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise ClientDisconnected("the client has closed its connection") from None
    finally:
        loop.remove_reader(number)
