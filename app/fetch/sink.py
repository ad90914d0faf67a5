"""The file that a download is written to: a descriptor that its owner has passed to this process."""

import asyncio
import os

from app.errors import StorageFull
from app.files import full_disk_errors, write_all

BLOCK_BYTES = 1 << 20


class Sink:
    """Writes to a descriptor in blocks, in a thread; each block leaves `min_free_bytes` free on the disk.

    Attributes:
        received: Bytes passed to `write`.
    """

    def __init__(self, descriptor: int, min_free_bytes: int = 0) -> None:
        self._descriptor, self._min_free_bytes = descriptor, min_free_bytes
        self._block = bytearray()
        self.received = 0

    async def write(self, chunk: bytes) -> None:
        """Add bytes to the file; raises StorageFull."""
        self.received += len(chunk)
        self._block += chunk
        if len(self._block) >= BLOCK_BYTES:
            await self.finish()

    async def finish(self) -> None:
        """Write what is not written yet; raises StorageFull."""
        block, self._block = self._block, bytearray()
        if block:
            await asyncio.to_thread(self._write, block)

    def _write(self, block: bytearray) -> None:
        disk = os.fstatvfs(self._descriptor)
        if disk.f_bavail * disk.f_frsize < self._min_free_bytes:
            raise StorageFull
        with full_disk_errors():
            write_all(self._descriptor, block)
