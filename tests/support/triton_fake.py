"""A Triton that has a GPU which is not there: its gRPC face, with CUDA's shared memory opened out of `FakeCuda`.

It serves one model, whose one score is the mean of a clip. tests/integration/app/test_transports.py holds it to what the real
server does wherever no GPU is needed for it.
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

from app.shm.pool import SHM
from tests.support.cuda_fake import FakeCuda

MODEL = "mean"
UNKNOWN = "Unable to find shared memory region: '{}'"
UNOPENABLE = "failed to register shared memory region: invalid args"


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """`can_open` False: it runs where the GPU is not; `infer_error` is answered to clips on the GPU.

    `starting` True: it knows what it has open, and takes nothing new yet.
    """

    def __init__(self) -> None:
        self.system: dict[str, memoryview] = {}
        self.cuda: dict[str, memoryview] = {}
        self.devices: dict[str, int] = {}
        self.can_open, self.infer_error, self.on_gpu, self.starting = True, "", True, False

    def restart(self) -> None:
        """As a new server: it knows no region."""
        self.system.clear()
        self.cuda.clear()

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

    async def CudaSharedMemoryRegister(self, request: Any, context: Any) -> Any:
        block = FakeCuda.opened.get(request.raw_handle)
        if not self.can_open or block is None or len(block) < request.byte_size:
            await _refuse(context, UNOPENABLE)
        self.cuda[request.name] = memoryview(block)
        self.devices[request.name] = request.device_id
        return messages.CudaSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(self, request: Any, context: Any) -> Any:
        self.system.pop(request.name, None)
        return messages.SystemSharedMemoryUnregisterResponse()

    async def CudaSharedMemoryUnregister(self, request: Any, context: Any) -> Any:
        self.cuda.pop(request.name, None)
        return messages.CudaSharedMemoryUnregisterResponse()

    async def SystemSharedMemoryStatus(self, request: Any, context: Any) -> Any:
        region = messages.SystemSharedMemoryStatusResponse.RegionStatus
        return messages.SystemSharedMemoryStatusResponse(regions={name: region(name=name) for name in self.system})

    async def CudaSharedMemoryStatus(self, request: Any, context: Any) -> Any:
        region = messages.CudaSharedMemoryStatusResponse.RegionStatus
        return messages.CudaSharedMemoryStatusResponse(regions={name: region(name=name) for name in self.cuda})

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        model = messages.RepositoryIndexResponse.ModelIndex(name=MODEL, version="1", state="READY")
        return messages.RepositoryIndexResponse(models=[model])

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        answer = messages.ModelConfigResponse()
        answer.config.name = MODEL
        answer.config.instance_group.add(kind="KIND_GPU" if self.on_gpu else "KIND_CPU")
        answer.config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "no"
        return answer

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        parameters = request.inputs[0].parameters
        if "shared_memory_region" in parameters:
            name = parameters["shared_memory_region"].string_param
            begin = parameters["shared_memory_offset"].int64_param if "shared_memory_offset" in parameters else 0
            size = parameters["shared_memory_byte_size"].int64_param
            if name in self.cuda and self.infer_error:
                await _refuse(context, self.infer_error)
            if name not in self.system | self.cuda:
                await _refuse(context, UNKNOWN.format(name), grpc.StatusCode.NOT_FOUND)
            data = bytes((self.system | self.cuda)[name][begin : begin + size])
        else:
            data = request.raw_input_contents[0]
        score = np.frombuffer(data, np.uint8).mean(dtype=np.float32).reshape(1, 1)
        answer = messages.ModelInferResponse(model_name=MODEL, raw_output_contents=[score.tobytes()])
        answer.outputs.add(name="SCORES", datatype="FP32", shape=[1, 1])
        return answer


async def _refuse(context: Any, words: str, status: Any = grpc.StatusCode.INTERNAL) -> NoReturn:
    await context.abort(status, words)
    raise AssertionError("unreachable")


@asynccontextmanager
async def running_fake() -> AsyncIterator[tuple[FakeTriton, str]]:
    """The fake and its address."""
    fake, server = FakeTriton(), grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield fake, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
        fake.restart()


__all__ = ["MODEL", "FakeTriton", "running_fake"]
