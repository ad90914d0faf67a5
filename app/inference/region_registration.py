"""Registration of a worker's shared-memory region, and of its mirror on a GPU, with Triton."""

import asyncio
import base64
import logging
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.errors import ClipstackError, InferenceFailed, NotReady
from app.inference.transports import CUDA, INLINE, Transport, Transports
from app.inference.triton_errors import RegionRefused, RegionUnknown, translate_errors
from app.shm.cuda_region import DEVICE_SUFFIX, DeviceRegion

CALL_TIMEOUT_S = 5.0  # of all calls except inference
CLOSE_TIMEOUT_S = 1.0

log = logging.getLogger(__name__)


class Region(Protocol):
    """Interface of a worker's shared memory."""

    name: str
    region_bytes: int

    @property
    def device(self) -> DeviceRegion | None:
        """Twin of the region on a GPU; None without one."""
        ...

    def view(self, offset: int, shape: Sequence[int]) -> NDArray[np.uint8]:
        """Return the memory from `offset` on as a uint8 array of `shape`."""
        ...


class RegionRegistration:
    """Registration of one worker's region, for every transport that passes clips by reference."""

    def __init__(self, client: Any, region: Region, transports: Transports) -> None:
        self._client, self._region, self._transports = client, region, transports
        self._registered: set[Transport] = set()
        self._lock = asyncio.Lock()

    async def register(self) -> None:
        """Register the region and its mirror on a GPU with Triton unless they are registered. Raises NotReady.

        A refused transport is skipped for a while, as after a refused request.
        """
        for transport in (way for way in self._transports.usable(on_gpu=True) if way != INLINE):
            try:
                await self.register_for(transport)
            except RegionRefused as error:
                self._transports.record_refusal(transport, str(error))

    def name(self, transport: Transport) -> str:
        """Return the region's name in Triton."""
        return self._region.device.name if transport == CUDA and self._region.device else self._region.name

    async def register_for(self, transport: Transport) -> None:
        """Register the region for one transport unless it is registered. Raises RegionRefused."""
        async with self._lock:
            if transport in self._registered:
                return
            try:
                async with translate_errors(by_reference=True):
                    await self._open_in_triton(transport)
            except (RegionUnknown, RegionRefused, InferenceFailed) as error:
                if "already" not in str(error):
                    if transport == CUDA and self._region.device:
                        self._region.device.is_shared = False
                    raise RegionRefused(str(error)) from error
            self._registered.add(transport)
            self._transports.registrations[transport] += 1

    async def _open_in_triton(self, transport: Transport) -> None:
        region = self._region
        if transport == CUDA and region.device:
            mirror = region.device
            mirror.is_shared = True  # from now on, even if this call fails
            raw = base64.b64encode(mirror.handle)
            await self._client.register_cuda_shared_memory(
                mirror.name, raw, mirror.device, mirror.region_bytes, client_timeout=CALL_TIMEOUT_S
            )
        else:
            await self._client.register_system_shared_memory(
                region.name, f"/{region.name}", region.region_bytes, client_timeout=CALL_TIMEOUT_S
            )

    async def names(self) -> list[str]:
        """Return the names of the regions that Triton has mapped; register this worker's again after a restart."""
        client, patience = self._client, {"as_json": True, "client_timeout": CALL_TIMEOUT_S}
        async with translate_errors():
            system = await client.get_system_shared_memory_status(**patience)
            cuda = await client.get_cuda_shared_memory_status(**patience)
        names = [*system.get("regions", {}), *cuda.get("regions", {})]
        if lost := {transport for transport in self._registered if self.name(transport) not in names}:
            self._registered -= lost
            try:
                await self.register()
            except NotReady:
                self._registered |= lost  # Triton is down again; the next successful call registers them
                raise
        return names

    def discard(self, transport: Transport) -> None:
        """Record that Triton has lost the region of `transport`."""
        self._registered.discard(transport)

    async def unregister(self, name: str, timeout_s: float = CALL_TIMEOUT_S) -> None:
        """Unregister the region `name` from Triton."""
        async with translate_errors():
            if name.endswith(DEVICE_SUFFIX):
                await self._client.unregister_cuda_shared_memory(name, client_timeout=timeout_s)
            else:
                await self._client.unregister_system_shared_memory(name, client_timeout=timeout_s)

    async def close(self) -> None:
        """Unregister this worker's regions, by name because other workers have theirs."""
        for transport in self._registered:
            try:
                await self.unregister(self.name(transport), CLOSE_TIMEOUT_S)
            except ClipstackError as error:
                log.info("region not unregistered: %s", str(error)[:200])
            else:
                if transport == CUDA and self._region.device:
                    self._region.device.is_shared = False
