"""Client of Triton: sends clips over gRPC and returns their scores.

Transports in order of preference: CUDA shared memory for models on a GPU, system shared memory, and the gRPC message
itself. After a refusal the request uses the next transport, and the refused one is skipped for a while.

Types and errors of tritonclient stay in this file.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from app.errors import InferenceFailed, InferenceTimeout, NotReady
from app.inference.channel import connect_async
from app.inference.repository_index import unready
from app.inference.transports import CHAINS, CUDA, INLINE, Transport, Transports
from app.request_id import request_id
from app.shm.cuda_region import DEVICE_SUFFIX, DeviceRegion
from app.shm.cuda_runtime import CudaError

INPUT, OUTPUT = "CLIP", "SCORES"
FINGERPRINT = "clipstack_fingerprint"  # a request parameter (triton_repo/backends/clip/model.py)
CALL_TIMEOUT_S = 5.0  # of all calls except inference
LISTINGS = 5  # attempts to list the models while they change

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


class Scores(NamedTuple):
    """Scores of one clip, float32 (classes,), and the transport of the clip."""

    values: NDArray[np.float32]
    transport: Transport


class ProbeResult(NamedTuple):
    """A model's result for a black clip: all labels in the order of the scores, and the scores."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]


class TritonUnavailable(NotReady):
    """Triton is not reachable or is shutting down; the outcome of the call is unknown."""


class ModelUnloaded(NotReady):
    """Triton has unloaded this version or is about to: the list of the registry is out of date."""


class RegionUnknown(Exception):
    """Triton does not know the region: it was restarted, or the region was unregistered."""


class RegionRefused(Exception):
    """Triton cannot map the region: it runs on another machine, or does not support shared memory."""


def _translate(error: InferenceServerException, by_reference: bool) -> Exception:
    status, message = str(error.status() or ""), error.message() or ""
    # In an inline request these messages are about the backend's own shared memory.
    if by_reference and "Unable to find " in message and "shared memory region" in message:
        return RegionUnknown(message)
    if by_reference and any(word in message.lower() for word in ("shared memory", "cuda ipc", "cudaipc")):
        return RegionRefused(message)
    if "unknown model" in message or "scheduler for model has stopped" in message:
        return ModelUnloaded("this model is being replaced or removed; please try again in a moment")
    if "is not healthy" in message:  # the model's process died or hangs; the watchdog restarts it
        return NotReady("this model does not answer now; please try again in a moment")
    if "protocol is restricted" in message:
        return TritonUnavailable("the model server refuses the key of this installation; see CLIPSTACK_TRITON_KEY_FILE")
    if "UNAVAILABLE" in status or "CANCELLED" in status:
        return TritonUnavailable("the model server is starting; please try again in a moment")
    if "DEADLINE_EXCEEDED" in status:
        return InferenceTimeout("the model server did not answer in time")
    log.error("inference failed: %s %s", status, message[:500])
    return InferenceFailed("the model could not process this clip")


@asynccontextmanager
async def _our_errors(by_reference: bool = False) -> AsyncIterator[None]:
    try:
        yield
    except InferenceServerException as error:
        raise _translate(error, by_reference) from error


class Triton:
    """One worker's connection to Triton. Create and use inside one event loop.

    Args:
        address: gRPC target, `unix:/path` or `host:port`.
        region: This worker's shared memory.
        transport: `cuda`, `shm` or `inline`, or `auto` for the best one that Triton accepts.
        key: Sent with every call; empty for a Triton that needs none.
    """

    def __init__(self, address: str, region: Region, transport: str, key: str = "") -> None:
        self._client = connect_async(address, key)
        self._region = region
        self._registered: set[Transport] = set()
        self._registering = asyncio.Lock()
        self._on_gpu: set[tuple[str, str]] = set()  # models (name, version) that take clips on a GPU
        self.unready = frozenset[str]()  # models unavailable at the last listing (app/inference/repository_index.py)
        chain = CHAINS[transport]
        self.transports = Transports(chain if region.device else tuple(way for way in chain if way != CUDA))

    async def infer(self, model: str, version: str, offset: int, shape: tuple[int, ...]) -> Scores:
        """Return the scores of the clip in the slot at `offset`, uint8 of `shape` (T, H, W, 3).

        There is no timeout on purpose: when this returns, Triton no longer reads the slot. A caller that stops waiting
        must leave the call running and the slot allocated.

        Raises:
            ModelUnloaded: Triton has unloaded the version.
            TritonUnavailable: Triton does not answer.
            NotReady: The model does not answer, a GPU was lost, or Triton refused all transports.
            InferenceFailed: The model failed on the clip.
        """
        for transport in self.transports.usable(on_gpu=(model, version) in self._on_gpu):
            try:
                scores = Scores(await self._send(transport, model, version, offset, shape), transport)
            except RegionRefused as error:
                self.transports.refused(transport, str(error))
            else:
                self.transports.used(transport)
                return scores
        raise NotReady("the model server cannot use shared memory")

    def takes_clips_on_gpu(self, model: str, version: str) -> bool:
        """Return whether a clip for this model would use CUDA shared memory now."""
        return CUDA in self.transports.usable(on_gpu=(model, version) in self._on_gpu)

    async def _send(
        self, transport: Transport, model: str, version: str, offset: int, shape: tuple[int, ...]
    ) -> NDArray[np.float32]:
        clip, count = InferInput(INPUT, [1, *shape], "UINT8"), int(np.prod(shape))
        if transport != CUDA and self._region.device:
            try:
                await self._region.device.download(offset, count)
            except CudaError as error:  # the clip existed only on the GPU
                raise NotReady("the GPU was lost; please try again in a moment") from error
        if transport == INLINE:
            clip.set_data_from_numpy(self._region.view(offset, (1, *shape)))
            async with _our_errors():
                return await self._call(model, version, clip)
        if transport == CUDA and self._region.device:
            try:
                await self._region.device.upload(offset, count)
            except CudaError as error:
                raise RegionRefused(str(error)) from error
        clip.set_shared_memory(self._name(transport), count, offset)
        for last_try in (False, True):
            await self._register(transport)
            try:
                async with _our_errors(by_reference=True):
                    return await self._call(model, version, clip)
            except RegionUnknown as error:
                # A restarted Triton knows no region. Only one retry: an unknown region twice in a row is a refusal.
                self._registered.discard(transport)
                if last_try:
                    raise RegionRefused(str(error)) from error
        raise AssertionError("unreachable")

    async def _call(self, model: str, version: str, clip: InferInput) -> NDArray[np.float32]:
        result = await self._client.infer(model, [clip], version, request_id=request_id.get())
        scores = result.as_numpy(OUTPUT)
        if scores is None or scores.size == 0:
            raise InferenceFailed("the model gave no scores")
        return np.asarray(scores[0], dtype=np.float32)

    async def register(self) -> None:
        """Register the region and its GPU twin with Triton unless they are registered. Raises NotReady.

        A refused transport is skipped for a while, as after a refused request.
        """
        for transport in (way for way in self.transports.usable(on_gpu=True) if way != INLINE):
            try:
                await self._register(transport)
            except RegionRefused as error:
                self.transports.refused(transport, str(error))

    def _name(self, transport: Transport) -> str:
        return self._region.device.name if transport == CUDA and self._region.device else self._region.name

    async def _register(self, transport: Transport) -> None:
        async with self._registering:
            if transport in self._registered:
                return
            try:
                async with _our_errors(by_reference=True):
                    await self._ask_to_open(transport)
            except (RegionUnknown, RegionRefused, InferenceFailed) as error:
                if "already" not in str(error):
                    if transport == CUDA and self._region.device:
                        self._region.device.lent = False
                    raise RegionRefused(str(error)) from error
            self._registered.add(transport)
            self.transports.registrations[transport] += 1

    async def _ask_to_open(self, transport: Transport) -> None:
        region, patience = self._region, {"client_timeout": CALL_TIMEOUT_S}
        if transport == CUDA and region.device:
            twin = region.device
            twin.lent = True  # from now on, even if this call fails
            raw = base64.b64encode(twin.handle)
            await self._client.register_cuda_shared_memory(
                twin.name, raw, twin.device, twin.region_bytes, **patience
            )  # fmt: skip
        else:
            await self._client.register_system_shared_memory(
                region.name, f"/{region.name}", region.region_bytes, **patience
            )  # fmt: skip

    async def regions(self) -> list[str]:
        """Return the names of the regions that Triton has mapped; register this worker's again after a restart."""
        client, patience = self._client, {"as_json": True, "client_timeout": CALL_TIMEOUT_S}
        async with _our_errors():
            system = await client.get_system_shared_memory_status(**patience)
            cuda = await client.get_cuda_shared_memory_status(**patience)
        names = [*system.get("regions", {}), *cuda.get("regions", {})]
        if forgotten := {transport for transport in self._registered if self._name(transport) not in names}:
            self._registered -= forgotten
            try:
                await self.register()
            except NotReady:
                self._registered |= forgotten  # Triton is down again; the next successful call registers them
                raise
        return names

    async def forget(self, name: str) -> None:
        """Unregister the region `name` from Triton."""
        async with _our_errors():
            if name.endswith(DEVICE_SUFFIX):
                await self._client.unregister_cuda_shared_memory(name, client_timeout=CALL_TIMEOUT_S)
            else:
                await self._client.unregister_system_shared_memory(name, client_timeout=CALL_TIMEOUT_S)

    async def canary(
        self, model: str, version: str, shape: tuple[int, ...], classes: int, patience_s: float
    ) -> ProbeResult:
        """Run a health check: one inference on a black clip of `shape` (T, H, W, 3). Raises like `infer`.

        Triton's classification extension returns "score:index:label", so the labels are stored only in the model's
        folder.

        Args:
            model: Name of the model.
            version: Version of the model.
            shape: Shape of the clip.
            classes: Number of scores that the model returns.
            patience_s: Timeout of the call, seconds.
        """
        clip = InferInput(INPUT, [1, *shape], "UINT8")
        clip.set_data_from_numpy(np.zeros((1, *shape), np.uint8))
        output = InferRequestedOutput(OUTPUT, class_count=classes)
        async with _our_errors():
            result = await self._client.infer(model, [clip], version, outputs=[output], client_timeout=patience_s)
        answers = result.as_numpy(OUTPUT)
        labels: dict[int, str] = {}
        scores: dict[int, float] = {}
        for result in [] if answers is None else answers.ravel():
            score, index, label = [*result.decode().split(":", 2), ""][:3]
            labels[int(index)], scores[int(index)] = label or index, float(score)
        if len(labels) != classes:
            raise InferenceFailed(f"model {model} gave {len(labels)} scores instead of {classes}")
        order = range(classes)
        return ProbeResult(tuple(labels[index] for index in order), tuple(scores[index] for index in order))

    async def fingerprint(self, model: str, version: str, shape: tuple[int, ...], patience_s: float) -> str:
        """Return the backend's digest, in hex, of everything that determines a model's output. Raises like `infer`.

        Empty for a model of another backend, which ignores the request parameter and returns scores.
        """
        clip = InferInput(INPUT, [1, *shape], "UINT8")
        clip.set_data_from_numpy(np.zeros((1, *shape), np.uint8))
        async with _our_errors():
            result = await self._client.infer(
                model, [clip], version, parameters={FINGERPRINT: True}, client_timeout=patience_s
            )
        values = result.as_numpy(OUTPUT)
        # -1 is not a score: it marks the digest that follows, one byte per number
        if values is None or values.size != 33 or values.ravel()[0] != -1:
            return ""
        return bytes(values.ravel()[1:].astype(np.uint8)).hex()

    async def models(self) -> list[dict[str, Any]]:
        """Return Triton's configuration of every ready model version, with the version under `"version"`."""
        for _ in range(LISTINGS):
            async with _our_errors():
                response = await self._client.get_model_repository_index(as_json=True, client_timeout=CALL_TIMEOUT_S)
            index = response.get("models", [])
            self.unready = unready(index)
            ready = [model for model in index if model.get("state") == "READY"]
            answers = await asyncio.gather(*(self._config(model["name"], model.get("version", "1")) for model in ready))
            configs = [result for result in answers if result]
            if len(configs) == len(answers):
                break  # else a model was replaced in the meantime, and its successor is missing from this list
        return configs

    async def _config(self, name: str, version: str) -> dict[str, Any] | None:
        """Return the configuration of one version; None when it was unloaded since the listing."""
        try:
            async with _our_errors():
                result = await self._client.get_model_config(name, version, as_json=True, client_timeout=CALL_TIMEOUT_S)
        except ModelUnloaded:
            return None
        config: dict[str, Any] = result["config"]
        if _takes_clips_on_gpu(config):
            self._on_gpu.add((name, version))
        else:
            self._on_gpu.discard((name, version))
        return config | {"version": version}

    async def close(self) -> None:
        """Unregister this worker's regions, by name because other workers have theirs, and close the channel."""
        for transport in self._registered:
            try:
                if transport == CUDA and self._region.device:
                    await self._client.unregister_cuda_shared_memory(self._region.device.name, client_timeout=1.0)
                    self._region.device.lent = False
                else:
                    await self._client.unregister_system_shared_memory(self._region.name, client_timeout=1.0)
            except InferenceServerException as error:
                log.info("region not unregistered: %s", str(error)[:200])
        await self._client.close()


def _takes_clips_on_gpu(config: dict[str, Any]) -> bool:
    """Return whether the model runs on a GPU and reads its input there; for others Triton copies it to the CPU."""
    kinds = {group.get("kind") for group in config.get("instance_group", [])}
    cpu_only = config.get("parameters", {}).get("FORCE_CPU_ONLY_INPUT_TENSORS", {}).get("string_value")
    return kinds == {"KIND_GPU"} and cpu_only == "no"
