"""A fake Triton with a model on a fake GPU: its gRPC API, with GPU memory of `FakeCuda`.

It serves one model, whose one score is the mean of a clip. tests/integration/app/inference/test_shared_regions.py
compares it with the real server where no GPU is needed.
"""

from __future__ import annotations

import mmap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc

from app.shm import cuda_region
from app.shm.pool import SHM
from tests.support.cuda_fake import FakeCuda

MODEL, CLIP_BYTES = "mean", 192
UNKNOWN = "Unable to find shared memory region: '{}'"
UNOPENABLE = (
    "CUDA IPC: region of a dead worker on GPU 2 cannot be opened: CUDA_ERROR_INVALID_VALUE of cuIpcOpenMemHandle_v2"
)


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """`can_open` False: the model cannot open the GPU's memory; `infer_error` is answered to clips on the GPU.

    `starting` True: it knows what it has open, and takes nothing new yet.
    """

    def __init__(self) -> None:
        self.system: dict[str, memoryview] = {}
        self.devices: dict[str, int] = {}  # by the region names of the references
        self.can_open, self.infer_error, self.on_gpu, self.starting = True, "", True, False

    def restart(self) -> None:
        """Forget all regions, like a new server."""
        self.system.clear()

    async def SystemSharedMemoryRegister(self, request: Any, context: Any) -> Any:
        if self.starting:
            await _refuse(context, "not yet", grpc.StatusCode.UNAVAILABLE)
        try:
            with (SHM / request.key.lstrip("/")).open("r+b") as file:
                opened = memoryview(mmap.mmap(file.fileno(), request.byte_size))
        except OSError:
            await _refuse(context, f"Unable to open shared memory region: '{request.key}'")
        self.system[request.name] = opened
        return messages.SystemSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(self, request: Any, context: Any) -> Any:
        self.system.pop(request.name, None)
        return messages.SystemSharedMemoryUnregisterResponse()

    async def SystemSharedMemoryStatus(self, request: Any, context: Any) -> Any:
        region = messages.SystemSharedMemoryStatusResponse.RegionStatus
        return messages.SystemSharedMemoryStatusResponse(regions={name: region(name=name) for name in self.system})

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        model = messages.RepositoryIndexResponse.ModelIndex(name=MODEL, version="1", state="READY")
        return messages.RepositoryIndexResponse(models=[model])

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        answer = messages.ModelConfigResponse()
        answer.config.name = MODEL
        answer.config.input.add(name="CLIP")
        if self.on_gpu:
            answer.config.input.add(name=cuda_region.INPUT)
        return answer

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        parameters = request.inputs[0].parameters
        if request.inputs[0].name == cuda_region.INPUT:
            data = await self._on_gpu(request.raw_input_contents[0], context)
        elif "shared_memory_region" in parameters:
            name = parameters["shared_memory_region"].string_param
            begin = parameters["shared_memory_offset"].int64_param if "shared_memory_offset" in parameters else 0
            size = parameters["shared_memory_byte_size"].int64_param
            if name not in self.system:
                await _refuse(context, UNKNOWN.format(name), grpc.StatusCode.NOT_FOUND)
            data = bytes(self.system[name][begin : begin + size])
        else:
            data = request.raw_input_contents[0]
        score = np.frombuffer(data, np.uint8).mean(dtype=np.float32).reshape(1, 1)
        answer = messages.ModelInferResponse(model_name=MODEL, raw_output_contents=[score.tobytes()])
        answer.outputs.add(name="SCORES", datatype="FP32", shape=[1, 1])
        return answer

    async def _on_gpu(self, reference: bytes, context: Any) -> bytes:
        """Return the clip of a reference, opened like in the backend."""
        handle, name, _, offset, device = cuda_region.REFERENCE.unpack(reference)
        if not self.on_gpu:
            await _refuse(context, f"unexpected inference input '{cuda_region.INPUT}' for model '{MODEL}'")
        if self.infer_error:
            await _refuse(context, self.infer_error)
        if not self.can_open or handle not in FakeCuda.opened:
            await _refuse(context, UNOPENABLE)
        self.devices[name.rstrip(b"\0").decode()] = device
        return bytes(FakeCuda.opened[handle][offset : offset + CLIP_BYTES])


async def _refuse(context: Any, words: str, status: Any = grpc.StatusCode.INTERNAL) -> NoReturn:
    await context.abort(status, words)
    raise AssertionError("unreachable")


@asynccontextmanager
async def running_fake() -> AsyncIterator[tuple[FakeTriton, str]]:
    """Run the fake; yields it and its address."""
    fake, server = FakeTriton(), grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield fake, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
        fake.restart()


__all__ = ["CLIP_BYTES", "MODEL", "FakeTriton", "running_fake"]
