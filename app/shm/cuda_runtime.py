"""CUDA runtime calls that slots on a GPU need; the names of cuda-python stay in this file.

Addresses, streams and events are plain numbers here, so that a fake can replace the GPU (tests/support/cuda_fake.py).
CUDA does not survive a fork: the process that uses a runtime creates it.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

HANDLE_BYTES = 64  # CUDA_IPC_HANDLE_SIZE


class CudaError(Exception):
    """Failed call of CUDA's runtime; the message begins with CUDA's name of the error."""


class CudaRuntime:
    """One GPU in one process, through cuda-python (https://nvidia.github.io/cuda-python/cuda-bindings/).

    Every method raises CudaError, also when the GPU is lost. `device` is CUDA's number, the same GPU's as in Triton.
    """

    def __init__(self, device: int) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise CudaError(f"cuda-python is not installed ({error}): .venv/bin/pip install -e '.[cuda]'") from error
        self._cuda, self.device = runtime, device
        self._not_ready = runtime.cudaError_t.cudaErrorNotReady
        count = self._call(runtime.cudaGetDeviceCount)
        if device >= count:
            raise CudaError(f"there is no GPU {device} here: CUDA sees {count}")
        self._on_device(runtime.cudaFree, 0)  # creates the context now instead of in the first request
        # Non-blocking: independent of the default stream, which nothing here uses
        self._stream = self._on_device(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)
        self._events: list[Any] = []

    def _call(self, function: Any, *arguments: object) -> Any:
        status, *result = function(*arguments)
        if status != self._cuda.cudaError_t.cudaSuccess:
            raise CudaError(self._describe(status))
        return result[0] if result else None

    def _on_device(self, function: Any, *arguments: object) -> Any:
        """Call `function` with this GPU as the thread's current one.

        The current GPU is per thread, and `close` runs in another thread than the other calls.
        """
        self._call(self._cuda.cudaSetDevice, self.device)
        return self._call(function, *arguments)

    def _describe(self, status: Any) -> str:
        name, description = self._cuda.cudaGetErrorName(status)[1], self._cuda.cudaGetErrorString(status)[1]
        return f"{name.decode()}: {description.decode()}"

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes on the GPU and return the address."""
        return int(self._on_device(self._cuda.cudaMalloc, size))

    def free(self, address: int) -> None:
        """Free an allocation; undefined while another process has it open."""
        self._on_device(self._cuda.cudaFree, address)

    def handle(self, address: int) -> bytes:
        """Return the HANDLE_BYTES with which another local process can open the allocation at `address`."""
        ipc_handle = self._on_device(self._cuda.cudaIpcGetMemHandle, address)
        return ctypes.string_at(ipc_handle.getPtr(), HANDLE_BYTES)

    def open(self, handle: bytes) -> int:
        """Open another process's allocation and return its address here; open until this process ends."""
        ipc_handle = self._cuda.cudaIpcMemHandle_t()
        ctypes.memmove(ipc_handle.getPtr(), handle, HANDLE_BYTES)
        return int(
            self._on_device(self._cuda.cudaIpcOpenMemHandle, ipc_handle, self._cuda.cudaIpcMemLazyEnablePeerAccess)
        )

    def pin(self, address: int, size: int) -> None:
        """Page-lock host memory; copies from or to other memory are not asynchronous."""
        self._on_device(self._cuda.cudaHostRegister, address, size, self._cuda.cudaHostRegisterDefault)

    def unpin(self, address: int) -> None:
        """Unlock host memory."""
        self._on_device(self._cuda.cudaHostUnregister, address)

    def event(self) -> int:
        """Return a new event, which marks the end of a copy."""
        # Events without timing are cheaper to record and to query
        self._events.append(self._on_device(self._cuda.cudaEventCreateWithFlags, self._cuda.cudaEventDisableTiming))
        return len(self._events) - 1

    def copy(self, target: int, source: int, size: int, event: int) -> None:
        """Start a copy between host and GPU and return at once; it uses `event` until it is over."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDefault  # the addresses determine the direction
        self._on_device(self._cuda.cudaMemcpyAsync, target, source, size, kind, self._stream)
        self._call(self._cuda.cudaEventRecord, self._events[event], self._stream)

    def is_complete(self, event: int) -> bool:
        """Return whether the copy of `event` is over."""
        (status,) = self._cuda.cudaEventQuery(self._events[event])
        if status == self._not_ready:
            return False
        if status != self._cuda.cudaError_t.cudaSuccess:
            raise CudaError(self._describe(status))
        return True

    def close(self) -> None:
        """Release the stream and the events, after the last copy."""
        while self._events:
            self._on_device(self._cuda.cudaEventDestroy, self._events.pop())
        self._on_device(self._cuda.cudaStreamDestroy, self._stream)


@dataclass(frozen=True, slots=True)
class GpuRegionHandle:
    """Description of a worker's slots on the GPU with CUDA's `number`, for a decoder process.

    `device` is torch's name for the GPU; tests use `cpu` with a runtime that is not a GPU's.
    """

    number: int
    handle: bytes
    region_bytes: int
    runtime: Callable[[int], CudaRuntime] = CudaRuntime
    device: str = "cuda"
