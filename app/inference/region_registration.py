"""Registration of a worker's shared-memory region with Triton."""

import asyncio
import logging
from typing import Any

from app.errors import ClipstackError, InferenceFailed, NotReady
from app.inference.transports import SYSTEM, Transports
from app.inference.triton_errors import RegionRefused, RegionUnknown, translate_errors
from app.shm.pool import SlotPool

CALL_TIMEOUT_S = 5.0  # of all calls except inference
CLOSE_TIMEOUT_S = 1.0

log = logging.getLogger(__name__)


class RegionRegistration:
    """Registration of one worker's region, for the transport by system shared memory.

    The twin on a GPU is not registered: every request by CUDA shared memory says where it is.
    """

    def __init__(self, client: Any, region: SlotPool, transports: Transports) -> None:
        self._client, self._region, self._transports = client, region, transports
        self._is_registered = False
        self._lock = asyncio.Lock()

    async def register(self) -> None:
        """Register the region with Triton unless it is registered, or the transport is not used. Raises NotReady.

        After a refusal the transport is skipped for a while, as after a refused request.
        """
        if SYSTEM not in self._transports.usable(on_gpu=True):
            return
        try:
            await self.register_once()
        except RegionRefused as error:
            self._transports.record_refusal(SYSTEM, str(error))

    async def register_once(self) -> None:
        """Register the region unless it is registered. Raises RegionRefused."""
        async with self._lock:
            if self._is_registered:
                return
            try:
                async with translate_errors(SYSTEM):
                    await self._client.register_system_shared_memory(
                        self._region.name,
                        f"/{self._region.name}",
                        self._region.region_bytes,
                        client_timeout=CALL_TIMEOUT_S,
                    )
            except (RegionUnknown, RegionRefused, InferenceFailed) as error:
                if "already" not in str(error):
                    raise RegionRefused(str(error)) from error
            self._is_registered = True
            self._transports.registrations[SYSTEM] += 1

    async def names(self) -> list[str]:
        """Return the names of the regions that Triton has mapped; register this worker's again after a restart."""
        async with translate_errors():
            status = await self._client.get_system_shared_memory_status(as_json=True, client_timeout=CALL_TIMEOUT_S)
        names = list(status.get("regions", {}))
        if self._is_registered and self._region.name not in names:
            self._is_registered = False
            try:
                await self.register()
            except NotReady:
                self._is_registered = True  # Triton is down again; the next successful call registers it
                raise
        return names

    def discard(self) -> None:
        """Record that Triton has lost the region."""
        self._is_registered = False

    async def unregister(self, name: str, timeout_s: float = CALL_TIMEOUT_S) -> None:
        """Unregister the region `name` from Triton."""
        async with translate_errors():
            await self._client.unregister_system_shared_memory(name, client_timeout=timeout_s)

    async def close(self) -> None:
        """Unregister this worker's region, by name because other workers have theirs."""
        if not self._is_registered:
            return
        try:
            await self.unregister(self._region.name, CLOSE_TIMEOUT_S)
        except ClipstackError as error:
            log.info("region not unregistered: %s", str(error)[:200])
