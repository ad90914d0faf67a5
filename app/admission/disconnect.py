"""Detect disconnected clients: nginx closes its connection to the worker when the client has gone."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import ClientDisconnected


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
        try:
            gone = not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            gone = True
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
