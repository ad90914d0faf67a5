"""Client of Triton: sends clips over gRPC and returns their scores.

Transports in order of preference: CUDA shared memory for models on a GPU, system shared memory, and the gRPC message
itself. After a refusal the request uses the next transport, and the refused one is skipped for a while.

Types and errors of tritonclient stay in this package.
"""

import asyncio
import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput

from app import tracing
from app.errors import InferenceFailed, NotReady
from app.inference.channel import connect_async
from app.inference.region_registration import CALL_TIMEOUT_S, RegionRegistration
from app.inference.repository_index import ready, unready
from app.inference.transports import CHAINS, CUDA, INLINE, SYSTEM, Transport, Transports
from app.inference.triton_errors import ModelUnloaded, RegionRefused, RegionUnknown, translate_errors
from app.logs import request_id
from app.settings import TritonTls
from app.shm import cuda_region
from app.shm.cuda_region import DeviceRegion
from app.shm.cuda_runtime import CudaError
from app.shm.pool import SlotPool

INPUT, OUTPUT = "CLIP", "SCORES"
# Request parameters (triton_repo/backends/clip/model.py)
FINGERPRINT, FEATURES = "clipstack_fingerprint", "clipstack_features"
DIGEST_BYTES = 32
LISTINGS = 5  # attempts to list the models while they change

log = logging.getLogger(__name__)


class Scores(NamedTuple):
    """Scores of one clip, float32 (classes,), the transport of the clip, and its features if they were requested."""

    values: NDArray[np.float32]
    transport: Transport
    features: NDArray[np.float32] | None = None


class ClipInput(NamedTuple):
    """One clip, uint8 of `shape` (T, H, W, 3), at `offset` bytes in the region, and the model that infers it.

    `features` is the number of features to return besides the scores; 0 for none.
    """

    model: str
    version: str
    offset: int
    shape: tuple[int, ...]
    features: int = 0


class ProbeResult(NamedTuple):
    """A model's result for a black clip: all labels in the order of the scores, and the scores."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]


class Fingerprint(NamedTuple):
    """Identity of a loaded model, as its backend reports it. A model of another backend has the defaults.

    `digest`, in hex, is of everything that determines the model's output, `weights` of the weights alone. `precision`
    is the one that it calculates in, `features` the number of features of a clip.
    """

    digest: str = ""
    precision: str = ""
    features: int = 0
    weights: str = ""


class Triton:
    """One worker's connection to Triton at `address`, `unix:/path` or `host:port`. Create and use in one event loop.

    `transport` is `cuda`, `shm` or `inline`, or `auto` for the best one that Triton accepts. `key` is empty for a
    Triton that needs none, and `tls` None for plain text.
    """

    def __init__(
        self, address: str, region: SlotPool, transport: str, key: str = "", tls: TritonTls | None = None
    ) -> None:
        self._client = connect_async(address, key, tls)
        self._region = region
        self._on_gpu: set[tuple[str, str]] = set()  # models (name, version) that take clips on a GPU
        self._ready_before = frozenset[str]()  # models that were ready at any listing
        self.unready = frozenset[str]()  # models unavailable at the last listing (app/inference/repository_index.py)
        chain = CHAINS[transport]
        self.transports = Transports(chain if region.device else tuple(way for way in chain if way != CUDA))
        self.regions = RegionRegistration(self._client, region, self.transports)

    async def infer(self, clip: ClipInput) -> Scores:
        """Return the scores of a clip, and its features if it requests them.

        There is no timeout on purpose: when this returns, Triton no longer reads the slot. A caller that stops waiting
        must leave the call running and the slot allocated.

        Raises:
            ModelUnloaded: Triton has unloaded the version.
            TritonUnavailable: Triton does not answer.
            NotReady: The model does not answer, a GPU was lost, or Triton refused all transports.
            InferenceFailed: The model failed on the clip.
        """
        for transport in self.transports.usable(on_gpu=(clip.model, clip.version) in self._on_gpu):
            try:
                row = await self._send(transport, clip)
            except RegionRefused as error:
                self.transports.record_refusal(transport, str(error))
            else:
                self.transports.record_use(transport)
                if clip.features:
                    return Scores(row[: -clip.features], transport, row[-clip.features :])
                return Scores(row, transport)
        raise NotReady("the model server cannot use shared memory")

    def takes_clips_on_gpu(self, model: str, version: str) -> bool:
        """Return whether a clip for this model would use CUDA shared memory now."""
        return CUDA in self.transports.usable(on_gpu=(model, version) in self._on_gpu)

    async def _send(self, transport: Transport, clip: ClipInput) -> NDArray[np.float32]:
        """Return the row of the clip, float32 (classes + features,)."""
        shape, offset = clip.shape, clip.offset
        tensor, count = InferInput(INPUT, [1, *shape], "UINT8"), int(np.prod(shape))
        if transport != CUDA and self._region.device:
            try:
                await self._region.device.download(offset, count)
            except CudaError as error:  # the clip existed only on the GPU
                raise NotReady("the GPU was lost; please try again in a moment") from error
        if transport == INLINE:
            tensor.set_data_from_numpy(self._region.view(offset, (1, *shape)))
            async with translate_errors():
                return await self._call(clip, tensor)
        if transport == CUDA and self._region.device:
            return await self._send_reference(clip, self._region.device, count)
        tensor.set_shared_memory(self._region.name, count, offset)
        for last_try in (False, True):
            await self.regions.register_once()
            try:
                async with translate_errors(SYSTEM):
                    return await self._call(clip, tensor)
            except RegionUnknown as error:
                # A restarted Triton knows no region. Only one retry: an unknown region twice in a row is a refusal.
                self.regions.discard()
                if last_try:
                    raise RegionRefused(str(error)) from error
        raise AssertionError("unreachable")

    async def _send_reference(self, clip: ClipInput, device: DeviceRegion, count: int) -> NDArray[np.float32]:
        """Send where the clip is on the GPU; the model's process opens the worker's memory itself, and keeps it open.

        Not Triton's CUDA shared memory: its Python backend opens the handle again for every request, and ends with the
        model's process when that fails.
        """
        try:
            await device.upload(clip.offset, count)
        except CudaError as error:
            raise RegionRefused(str(error)) from error
        reference = np.frombuffer(device.reference(clip.offset), np.uint8)
        tensor = InferInput(cuda_region.INPUT, [1, len(reference)], "UINT8")
        tensor.set_data_from_numpy(reference[None])
        async with translate_errors(CUDA):
            return await self._call(clip, tensor)

    async def _call(self, clip: ClipInput, tensor: InferInput) -> NDArray[np.float32]:
        options = {"parameters": {FEATURES: True} if clip.features else None, "headers": tracing.headers()}
        result = await self._client.infer(clip.model, [tensor], clip.version, request_id=request_id.get(), **options)
        rows = result.as_numpy(OUTPUT)
        if rows is None or rows.shape[-1] <= clip.features:
            raise InferenceFailed("the model returned no scores")
        return np.asarray(rows[0], dtype=np.float32)

    async def canary(
        self, model: str, version: str, shape: tuple[int, ...], classes: int, patience_s: float
    ) -> ProbeResult:
        """Return all labels and scores for a black clip of `shape` (T, H, W, 3): a health check. Raises like `infer`.

        Triton's classification extension returns "score:index:label", so only the model's folder needs the labels. The
        model returns `classes` scores; the call takes at most `patience_s` seconds.
        """
        clip = _black_clip(shape)
        output = InferRequestedOutput(OUTPUT, class_count=classes)
        async with translate_errors():
            result = await self._client.infer(model, [clip], version, outputs=[output], client_timeout=patience_s)
        answers = result.as_numpy(OUTPUT)
        labels: dict[int, str] = {}
        scores: dict[int, float] = {}
        for result in [] if answers is None else answers.ravel():
            score, index, label = [*result.decode().split(":", 2), ""][:3]
            labels[int(index)], scores[int(index)] = label or index, float(score)
        if len(labels) != classes:
            raise InferenceFailed(f"model {model} returned {len(labels)} scores instead of {classes}")
        order = range(classes)
        return ProbeResult(tuple(labels[index] for index in order), tuple(scores[index] for index in order))

    async def fingerprint(self, model: str, version: str, shape: tuple[int, ...], patience_s: float) -> Fingerprint:
        """Return the backend's fingerprint of a model. Raises like `infer`.

        A model of another backend ignores the request parameter and returns scores.
        """
        clip, parameters = _black_clip(shape), {FINGERPRINT: True}
        async with translate_errors():
            result = await self._client.infer(model, [clip], version, parameters=parameters, client_timeout=patience_s)
        values = result.as_numpy(OUTPUT)
        # -1 is not a score: it marks the bytes that follow, one per number: the digest, the precision, the features
        if values is None or values.size <= DIGEST_BYTES or values.ravel()[0] != -1:
            return Fingerprint()
        content = bytes(values.ravel()[1:].astype(np.uint8))
        precision, features, weights = [*content[DIGEST_BYTES:].decode("ascii", "replace").split(" "), "0", ""][:3]
        count = int(features) if features.isdecimal() else 0
        return Fingerprint(content[:DIGEST_BYTES].hex(), precision, count, weights)

    async def models(self) -> list[dict[str, Any]]:
        """Return Triton's configuration of every ready model version, with the version under `"version"`."""
        for _ in range(LISTINGS):
            async with translate_errors():
                response = await self._client.get_model_repository_index(as_json=True, client_timeout=CALL_TIMEOUT_S)
            index = response.get("models", [])
            self.unready = unready(index, self._ready_before)
            self._ready_before |= ready(index)
            versions = [(model["name"], model.get("version", "1")) for model in index if model.get("state") == "READY"]
            answers = await asyncio.gather(*(self._config(name, version) for name, version in versions))
            configs = [result for result in answers if result]
            if len(configs) == len(answers):
                break  # else a model was replaced in the meantime, and its successor is missing from this list
        return configs

    async def _config(self, name: str, version: str) -> dict[str, Any] | None:
        """Return the configuration of one version; None when it was unloaded since the listing."""
        try:
            async with translate_errors():
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
        """Unregister this worker's regions, and close the channel."""
        await self.regions.close()
        await self._client.close()


def _black_clip(shape: tuple[int, ...]) -> InferInput:
    clip = InferInput(INPUT, [1, *shape], "UINT8")
    clip.set_data_from_numpy(np.zeros((1, *shape), np.uint8))
    return clip


def _takes_clips_on_gpu(config: dict[str, Any]) -> bool:
    """Return whether the model runs on a GPU and takes references to clips there (deploy/gpu/placement.py)."""
    return any(tensor["name"] == cuda_region.INPUT for tensor in config.get("input", []))
