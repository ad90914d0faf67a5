"""Clips to scores through Triton's gRPC: by reference into shared memory, inline where that is not to be had.

Foreign types stay in this file: tritonclient's errors become ours in one place.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from app.errors import InferenceFailed, InferenceTimeout, NotReady

Transport = Literal["system_shared_memory", "inline"]

INPUT, OUTPUT = "CLIP", "SCORES"
CALL_TIMEOUT_S = 5.0  # of everything but an inference
# gRPC's own waits between attempts to connect grow to two minutes; a restarted Triton is back in seconds.
CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
LISTINGS = 5  # how often the models are listed anew while they change
INLINE_RETRY_S = 30.0  # how long inline is used before shared memory is tried again

log = logging.getLogger(__name__)


class Region(Protocol):
    """What is needed of a worker's shared memory."""

    name: str
    region_bytes: int

    def view(self, offset: int, shape: Sequence[int]) -> NDArray[np.uint8]: ...


class Scores(NamedTuple):
    """Scores of one clip, float32 (classes,), and how the clip got there."""

    values: NDArray[np.float32]
    transport: Transport


class ModelGone(NotReady):
    """Triton has unloaded this version, or is about to: the catalogue's list is out of date."""


class RegionUnknown(Exception):
    """Triton does not know our region: it was restarted, or somebody unregistered it."""


class RegionRefused(Exception):
    """Triton cannot map our region: it runs elsewhere, or does not take shared memory."""


def _translate(error: InferenceServerException, by_reference: bool) -> Exception:
    status, message = str(error.status() or ""), error.message() or ""
    # Without a region of ours in the request it is the backend that speaks, of its own shared memory.
    if by_reference and "Unable to find shared memory region" in message:
        return RegionUnknown(message)
    if by_reference and "shared memory" in message.lower():
        return RegionRefused(message)
    if "unknown model" in message or "scheduler for model has stopped" in message:
        return ModelGone("this model is being replaced or removed; please try again in a moment")
    if "UNAVAILABLE" in status or "CANCELLED" in status:
        return NotReady("the model server is starting; please try again in a moment")
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
    """One worker's connection to Triton; made and used inside one event loop.

    `transport` is `shm`, `inline`, or `auto` for shared memory as long as Triton takes it.
    """

    def __init__(self, address: str, region: Region, transport: str) -> None:
        self._client = InferenceServerClient(address, channel_args=CHANNEL)
        self._region = region
        self._transport = transport
        self._registered = False
        self._registering = asyncio.Lock()
        self._inline_until = float("inf") if transport == "inline" else 0.0

    async def infer(self, model: str, version: str, offset: int, shape: tuple[int, ...]) -> Scores:
        """Scores of the clip in the slot at `offset`, uint8 of `shape` (T, H, W, 3).

        There is no deadline here on purpose: when this returns, Triton no longer reads the slot. A caller who
        cannot wait so long leaves the call running and the slot with it. Raises ModelGone, NotReady or
        InferenceFailed.
        """
        if time.monotonic() >= self._inline_until:
            try:
                return await self._by_reference(model, version, offset, shape)
            except RegionRefused as error:
                if self._transport == "shm":
                    raise NotReady("the model server cannot use shared memory") from error
                log.warning("shared memory refused, sending clips inline for a while: %s", str(error)[:300])
                self._inline_until = time.monotonic() + INLINE_RETRY_S
        clip = InferInput(INPUT, [1, *shape], "UINT8")
        clip.set_data_from_numpy(self._region.view(offset, (1, *shape)))
        async with _our_errors():
            return Scores(await self._call(model, version, clip), "inline")

    async def _by_reference(self, model: str, version: str, offset: int, shape: tuple[int, ...]) -> Scores:
        clip = InferInput(INPUT, [1, *shape], "UINT8")
        clip.set_shared_memory(self._region.name, int(np.prod(shape)), offset)
        for last_try in (False, True):
            await self.register()
            try:
                async with _our_errors(by_reference=True):
                    return Scores(await self._call(model, version, clip), "system_shared_memory")
            except RegionUnknown as error:
                # A restarted Triton knows no region. Once only: a region that is refused twice is refused.
                self._registered = False
                if last_try:
                    raise RegionRefused(str(error)) from error
        raise AssertionError("unreachable")

    async def _call(self, model: str, version: str, clip: InferInput) -> NDArray[np.float32]:
        result = await self._client.infer(model, [clip], version)
        scores = result.as_numpy(OUTPUT)
        if scores is None or scores.size == 0:
            raise InferenceFailed("the model gave no scores")
        return np.asarray(scores[0], dtype=np.float32)

    async def register(self) -> None:
        """Makes our region known to Triton, unless it is; raises RegionRefused or NotReady."""
        async with self._registering:
            if self._registered:
                return
            try:
                async with _our_errors(by_reference=True):
                    await self._client.register_system_shared_memory(
                        self._region.name, f"/{self._region.name}", self._region.region_bytes,
                        client_timeout=CALL_TIMEOUT_S,
                    )  # fmt: skip
            except (RegionUnknown, InferenceFailed) as error:
                raise RegionRefused(str(error)) from error
            except RegionRefused as error:
                if "already" not in str(error):
                    raise
            self._registered = True

    async def regions(self) -> list[str]:
        """Names of the regions that Triton has mapped; ours is among them again if a restarted Triton forgot it."""
        async with _our_errors():
            status = await self._client.get_system_shared_memory_status(as_json=True, client_timeout=CALL_TIMEOUT_S)
        names = list(status.get("regions", {}))
        if self._registered and self._region.name not in names:
            self._registered = False
            await self.register()
        return names

    async def forget(self, name: str) -> None:
        """Has Triton unmap the region `name`."""
        async with _our_errors():
            await self._client.unregister_system_shared_memory(name, client_timeout=CALL_TIMEOUT_S)

    async def canary(
        self, model: str, version: str, shape: tuple[int, ...], classes: int, patience_s: float
    ) -> tuple[str, ...]:
        """One inference of a black clip of `shape` (T, H, W, 3); returns the labels in the order of the scores.

        Triton's classification extension answers "score:index:label"; so the labels have one home, the model's
        folder. Raises as `infer`.
        """
        clip = InferInput(INPUT, [1, *shape], "UINT8")
        clip.set_data_from_numpy(np.zeros((1, *shape), np.uint8))
        output = InferRequestedOutput(OUTPUT, class_count=classes)
        async with _our_errors():
            result = await self._client.infer(model, [clip], version, outputs=[output], client_timeout=patience_s)
        answers = result.as_numpy(OUTPUT)
        labels: dict[int, str] = {}
        for answer in [] if answers is None else answers.ravel():
            _, index, label = [*answer.decode().split(":", 2), ""][:3]
            labels[int(index)] = label or index
        if len(labels) != classes:
            raise InferenceFailed(f"model {model} gave {len(labels)} scores instead of {classes}")
        return tuple(labels[index] for index in range(classes))

    async def models(self) -> list[dict[str, Any]]:
        """Triton's own configuration of every model version that is ready, with the version under `"version"`."""
        for _ in range(LISTINGS):
            async with _our_errors():
                index = await self._client.get_model_repository_index(as_json=True, client_timeout=CALL_TIMEOUT_S)
            ready = [model for model in index.get("models", []) if model.get("state") == "READY"]
            answers = await asyncio.gather(*(self._config(model["name"], model.get("version", "1")) for model in ready))
            configs = [answer for answer in answers if answer]
            if len(configs) == len(answers):
                break  # else one was replaced since it was listed, and what took its place is not in this list
        return configs

    async def _config(self, name: str, version: str) -> dict[str, Any] | None:
        """None when it was unloaded since it was listed."""
        try:
            async with _our_errors():
                answer = await self._client.get_model_config(name, version, as_json=True, client_timeout=CALL_TIMEOUT_S)
        except ModelGone:
            return None
        config: dict[str, Any] = answer["config"]
        return config | {"version": version}

    async def close(self) -> None:
        """Gives our region back and closes the channel; by name only, other workers have theirs."""
        if self._registered:
            try:
                await self._client.unregister_system_shared_memory(self._region.name, client_timeout=1.0)
            except InferenceServerException as error:
                log.info("region not unregistered: %s", str(error)[:200])
        await self._client.close()
