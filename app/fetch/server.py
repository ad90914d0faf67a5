"""The fetcher's server: takes requests on its socket and runs each as a task."""

import asyncio
import logging
import os
import socket
import time
from contextlib import suppress

from app.errors import ClipstackError
from app.fetch import messages, policy
from app.fetch.download import Downloader, Sink
from app.fetch.errors import FetcherUnavailable
from app.fetch.object_store import ObjectStores
from app.fetch.urls import WebAddress
from app.settings.fetch_rules import FetchRules

MAX_RUNNING = 64
REQUEST_S = 5.0

log = logging.getLogger(__name__)


class FetchServer:
    """Server on a listening socket of type SOCK_SEQPACKET."""

    def __init__(
        self, listener: socket.socket, rules: FetchRules, downloader: Downloader, stores: ObjectStores
    ) -> None:
        self._listener, self._rules, self._downloader, self._stores = listener, rules, downloader, stores
        self._running: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Serve until cancelled; running downloads end with it."""
        self._listener.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(self._listener)
                task = asyncio.create_task(self._handle(connection))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _handle(self, connection: socket.socket) -> None:
        """Answer the one request of a connection."""
        with connection:
            connection.setblocking(False)
            descriptors: list[int] = []
            try:
                async with asyncio.timeout(REQUEST_S):
                    await _readable(connection)
                message, descriptors, _, _ = socket.recv_fds(connection, messages.MAX_MESSAGE, 4)
                request = messages.FetchRequest.from_bytes(message)
                if len(descriptors) != 1:
                    raise ValueError("a request has one descriptor")
                reply = await self._while_connected(connection, request, descriptors[0])
            except (OSError, ValueError) as error:
                log.warning("a request could not be read: %s", error)
                return
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            with suppress(OSError):  # its sender has gone
                connection.send(reply)

    async def _while_connected(
        self, connection: socket.socket, request: messages.FetchRequest, descriptor: int
    ) -> bytes:
        """Return the reply; stop the download when the sender closes the connection."""
        work = asyncio.create_task(self._reply(request, descriptor))
        gone = asyncio.create_task(_readable(connection))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.info("a download was stopped: nobody waits for it")
                return b"{}"
            return work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _reply(self, request: messages.FetchRequest, descriptor: int) -> bytes:
        started, outcome, sink = time.monotonic(), "ok", Sink(descriptor, request.limits.min_free_bytes)
        origin = "-"
        try:
            if len(self._running) > MAX_RUNNING:
                raise FetcherUnavailable(f"{MAX_RUNNING} downloads run, the most allowed; please try again in a moment")
            address = policy.check(self._rules, request.url, write=request.write)
            origin = address.origin
            if isinstance(address, WebAddress):
                await self._downloader.download(address, sink, request.limits)
            elif request.write:
                return messages.answer(await self._stores.write(address, descriptor, request.limits))
            else:
                await self._stores.download(address, sink, request.limits)
            return messages.answer(sink.received)
        except ClipstackError as error:
            outcome = error.code
            return messages.failure(error)
        except Exception:
            outcome = "internal"
            log.exception("a download failed")
            return messages.failure(FetcherUnavailable("the download failed; it has been logged"))
        finally:
            # Without the path and the query, which may hold secrets
            log.info("%s %s: %d bytes in %.2f s", origin, outcome, sink.received, time.monotonic() - started)


async def _readable(connection: socket.socket) -> None:
    """Wait until the peer has sent something or has closed the connection."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
