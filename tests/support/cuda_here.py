"""The real GPU of this machine, for tests that need one: skipped with the reason where there is none."""

from __future__ import annotations

import ctypes

import pytest

from app.shm.cuda_runtime import CudaError, CudaRuntime
from tests.support.cuda_fake import FakeCuda


def real_cuda() -> CudaRuntime:
    """Return CUDA's runtime on the first GPU; skip the test if there is none."""
    try:
        return CudaRuntime(0)
    except CudaError as error:
        pytest.skip(f"no GPU here: {error}")


def read_back(runtime: CudaRuntime, address: int, size: int) -> bytes:
    """Return the bytes on the GPU at `address`."""
    if isinstance(runtime, FakeCuda):
        return runtime.read(address, size)
    from cuda.bindings import runtime as cuda

    buffer = ctypes.create_string_buffer(size)
    kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
    (status,) = cuda.cudaMemcpy(ctypes.addressof(buffer), address, size, kind)
    assert status == cuda.cudaError_t.cudaSuccess
    return buffer.raw
