"""TCP relay to the service, which leads out of a network namespace and can simulate a slow link."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

CHUNK_BYTES = 16 * 1024


class Bucket:
    """Token bucket that passes `bytes_s` bytes per second, at most `burst` of them at once."""

    def __init__(self, bytes_s: float, burst: int = 2 * CHUNK_BYTES) -> None:
        self._bytes_s, self._burst = bytes_s, float(burst)
        self._left, self._seen = float(burst), time.monotonic()

    async def take(self, number: int) -> None:
        """Return when that many bytes may pass."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._seen) * self._bytes_s) - number
        self._seen = now
        if self._left < 0:
            await asyncio.sleep(-self._left / self._bytes_s)


@asynccontextmanager
async def relay(host: str, service: tuple[str, int], bytes_s: float | None = None) -> AsyncIterator[int]:
    """Yield the port on `host` that leads to `service`; `bytes_s` limits the upload rate.

    All connections share the rate, as on a real link.
    """
    bucket = None if bytes_s is None else Bucket(bytes_s)
    running: set[asyncio.Task[None]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            running.add(task)
            task.add_done_callback(running.discard)
        with closing(writer), suppress(OSError):
            there, back = await asyncio.open_connection(*service)
            with closing(back):
                await asyncio.gather(_pass_on(reader, back, bucket), _pass_on(there, writer, None))

    # A small limit: the client counts bytes in the reader's buffer as sent.
    server = await asyncio.start_server(connect, host, 0, limit=CHUNK_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bucket: Bucket | None) -> None:
    try:
        while chunk := await reader.read(CHUNK_BYTES if bucket else 16 * CHUNK_BYTES):
            if bucket is not None:
                await bucket.take(len(chunk))
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except (OSError, RuntimeError):
        writer.close()
